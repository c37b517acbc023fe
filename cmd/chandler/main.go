// Command chandler is an Open Service Broker: server, development server,
// client for proving it, and the operator's verbs.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // for containers without certificate authorities

	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/workspace"
)

// The exit codes, which the help lists.
const (
	exitFailed = 1 // the command failed, or found something wrong
	exitUsage  = 2 // the command line, the environment or catalog.yml is invalid; nothing was tried
)

// usageError is an error that the caller can fix: invalid flags or arguments, or an
// invalid environment.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	// Only the first signal is caught: a second one kills.
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
	_, folder := errors.AsType[workspace.UsageError](err)
	_, config := errors.AsType[server.ConfigError](err)
	return usage || folder || config
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "chandler",
		Short: "An Open Service Broker for databases, queues, DNS, file systems and functions",
		Long: `Chandler is an Open Service Broker (OSB 2.17): it makes backing services on demand,
gives each application credentials of its own and stores them in Vault.

Exit codes: 0 success; 1 the command failed, or found something wrong; 2 the command line,
the environment or catalog.yml is invalid, and nothing was tried.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noSuchCommand,
		RunE:          showHelp,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(newServe(), newMigrate(), newDev(), newFunctions(), newSmoke(), newCatalog(), newInstances(), newBindings(), newOperations(), newOrphans(), newBackups(), newAudit(), newQuotas(), newServers(), newAdministrators(), newVersion())
	return root
}

// newNoun makes a command that only groups others.
func newNoun(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: noSuchCommand, RunE: showHelp}
	cmd.AddCommand(verbs...)
	return cmd
}

// newFunctions names the program that has replaced this command.
func newFunctions() *cobra.Command {
	return &cobra.Command{
		Use: "functions", Short: "Moved to the program " + workspace.FunctionsProgram, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return usagef("the function runtime is a program of its own: run %s in the same environment; its --help lists what is new there", workspace.FunctionsProgram)
		},
	}
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unknown command %q; see '%s --help'", args[0], cmd.CommandPath())
	}
	return nil
}

// readBuild reads the go command's record of the build: the version, such as v1.2.3, and
// the commit's full hash, which is empty if the sources were no checkout.
func readBuild() (version, commit string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
		if version = info.Main.Version; version == "(devel)" {
			version = ""
		}
	}
	return cmp.Or(version, commit, "development"), commit
}

func version() string {
	v, _ := readBuild()
	return v
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			v, commit := readBuild()
			return printFields(cmd.OutOrStdout(), "version", v, "commit", commit, "go", runtime.Version(),
				"platform", runtime.GOOS+"/"+runtime.GOARCH)
		},
	}
}
