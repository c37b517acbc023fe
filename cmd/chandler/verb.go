package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
)

// verb is a command of the operator's, which opens the state, and the backends and the
// credential store if it needs them, without a broker.
type verb struct {
	use, short, long string
	args             cobra.PositionalArgs // nil: none
	needs            openOptions
	wide             bool // whether -o wide shows more columns
	do               func(ctx context.Context, s *session) error
}

// session is what a verb works with.
type session struct {
	*operator.Operator
	app    *app
	by     operator.Actor
	args   []string
	out    io.Writer
	format output
}

// command makes the verb's command.
func (v verb) command() *cobra.Command {
	var data string
	s := session{by: currentUser()}
	if v.args == nil {
		v.args = cobra.NoArgs
	}
	cmd := &cobra.Command{
		Use: v.use, Short: v.short, Long: v.long, Args: usageArgs(v.args),
		RunE: func(cmd *cobra.Command, args []string) error {
			s.args, s.out = args, cmd.OutOrStdout()
			return withApp(cmd.Context(), data, v.needs, func(ctx context.Context, a *app) error {
				s.app, s.Operator = a, a.operator()
				err := v.do(ctx, &s)
				if argument, ok := errors.AsType[*operator.ArgumentError](err); ok {
					return usagef("--%w", argument)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder of a chandler dev, instead of DATABASE_URL and the other variables")
	s.format.flag(cmd, v.wide)
	return cmd
}

// withApp runs do with an opened app: of the environment, or of the folder data.
func withApp(ctx context.Context, data string, needs openOptions, do func(context.Context, *app) error) error {
	openAnd := func(s settings, do func(context.Context, *app) error) error {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		a, err := open(ctx, s, log, needs)
		if err != nil {
			return err
		}
		defer a.close()
		return do(ctx, a)
	}
	if data == "" {
		s, err := environmentSettings()
		if err != nil {
			return err
		}
		return openAnd(s, do)
	}
	folder, err := openDevFolder(data, true)
	if err != nil {
		return err
	}
	defer folder.close()
	return folder.withServers(ctx, needs.credentials, func() error {
		s, err := folder.settings()
		if err != nil {
			return err
		}
		return openAnd(s, func(ctx context.Context, a *app) error {
			if needs.credentials {
				if err := folder.checkBindings(ctx, a); err != nil {
					return err
				}
			}
			return do(ctx, a)
		})
	})
}

// stateOnly is for verbs that need neither backends nor credentials.
func stateOnly() openOptions { return openOptions{stateOnly: true} }

// currentUser is the identity that the audit record shows for an operator's change.
func currentUser() operator.Actor {
	if u, err := user.Current(); err == nil {
		return operator.User(u.Username)
	}
	return operator.User("unknown")
}

func usageArgs(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return usagef("%w; see '%s --help'", err, cmd.CommandPath())
		}
		return nil
	}
}

// list makes a verb that prints the rows that fetch returns.
func list[T any](v verb, columns table[T], fetch func(context.Context, *session) ([]T, error)) *cobra.Command {
	v.do = func(ctx context.Context, s *session) error {
		rows, err := fetch(ctx, s)
		if err != nil {
			return err
		}
		return columns.print(s.out, s.format, rows)
	}
	return v.command()
}

// show prints an object as JSON, or the pairs of names and values.
func (s *session) show(object any, pairs ...string) error {
	if s.format == "json" {
		return printJSON(s.out, object)
	}
	return printFields(s.out, pairs...)
}

// confirmed is a verb that works only with --force; question says what would be lost.
func (v verb) confirmed(consequence string) *cobra.Command {
	force, do := false, v.do
	v.do = func(ctx context.Context, s *session) error {
		if !force {
			return usagef("--force is missing: %s; add --force to confirm", consequence)
		}
		return do(ctx, s)
	}
	cmd := v.command()
	cmd.Flags().BoolVar(&force, "force", false, "confirm; this cannot be undone")
	return cmd
}

func (s *session) printf(format string, args ...any) { fmt.Fprintf(s.out, format, args...) }
