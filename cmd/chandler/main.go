// Command chandler is an Open Service Broker: server, development server,
// client for proving it, and the operator's verbs.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // for containers without certificate authorities

	"github.com/chandler-broker/chandler/broker/server"
)

// Exit codes, as the help tells them.
const (
	exitFailed = 1 // what was asked for was tried and failed, or something is wrong
	exitUsage  = 2 // the command line, the environment or catalog.yml is at fault; nothing was tried
)

// usageError is an error that the caller can fix: invalid flags or arguments, or an
// invalid environment.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	// The second signal kills: stop makes the first one the only one caught.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "chandler:", err)
	if isUsage(err) {
		return exitUsage
	}
	return exitFailed
}

func isUsage(err error) bool {
	_, usage := errors.AsType[usageError](err)
	_, config := errors.AsType[server.ConfigError](err)
	return usage || config
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "chandler",
		Short: "An Open Service Broker for databases, queues, DNS, file systems and functions",
		Long: `Chandler is an Open Service Broker (OSB 2.17): it makes backing services on demand,
hands each application credentials of its own and keeps them in Vault.

Exit codes: 0 all is well; 1 it was tried and failed, or something is wrong;
2 the command line, the environment or catalog.yml is at fault and nothing was tried.`,
		Version:       readBuild().Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          showHelp,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(newServe(), newMigrate(), newDev(), newFunctions(), newSmoke(), newCatalog(), newInstances(), newBindings(), newOperations(), newOrphans(), newAudit(), newQuotas(), newServers(), newAdministrators(), newVersion())
	return root
}

// newNoun makes a command that does nothing but hold others.
func newNoun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: showHelp}
	cmd.AddCommand(verbs...)
	return cmd
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("there is no command %q; see '%s --help'", args[0], cmd.CommandPath())
	}
	return nil
}
