package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/embedded/workspace"
)

// verb is an operator command. It works without a broker: it opens the state, and if necessary
// the backends and the credential store.
type verb struct {
	use, short, long string
	args             cobra.PositionalArgs // nil: none
	needs            server.Needs
	wide             bool // whether -o wide shows more columns
	do               func(ctx context.Context, s *session) error
}

// session is what a verb uses.
type session struct {
	*operator.Operator
	server *server.Server
	by     operator.Actor
	args   []string
	out    io.Writer
	output output
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
			return withServer(cmd.Context(), data, v.needs, func(ctx context.Context, opened *server.Server) error {
				s.server, s.Operator = opened, opened.Operator()
				err := v.do(ctx, &s)
				if argument, ok := errors.AsType[*operator.ArgumentError](err); ok {
					return usagef("--%w", argument)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "folder of a chandler dev, instead of DATABASE_URL and the other variables")
	s.output.flag(cmd, v.wide)
	return cmd
}

// withServer calls do with a server of the environment, or of the folder data.
func withServer(ctx context.Context, data string, needs server.Needs, do func(context.Context, *server.Server) error) error {
	open := func(s settings, do func(context.Context, *server.Server) error) error {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		opened, err := server.Open(ctx, s.Settings, log, needs)
		if err != nil {
			return err
		}
		defer opened.Close()
		return do(ctx, opened)
	}
	if data == "" {
		s, err := environmentSettings()
		if err != nil {
			return err
		}
		return open(s, do)
	}
	folder, err := workspace.Open(data, true)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.WithServers(ctx, needs.Credentials, func() error {
		s, err := folderSettings(folder)
		if err != nil {
			return err
		}
		return open(s, func(ctx context.Context, opened *server.Server) error {
			if needs.Credentials {
				bindings, err := opened.Operator().Bindings(ctx, operator.Filter{})
				if err := cmp.Or(err, folder.CheckCredentialStore(len(bindings))); err != nil {
					return err
				}
			}
			return do(ctx, opened)
		})
	})
}

// folderSettings are those of a broker on a folder's servers.
func folderSettings(f *workspace.Folder) (settings, error) {
	lookup, err := f.Lookup()
	if err != nil {
		return settings{}, err
	}
	s, err := readSettings(lookup)
	s.Without = slices.Clone(f.Settings.Without) // which a server that starts late changes
	return s, err
}

// stateOnly is for verbs that need neither backends nor credentials.
func stateOnly() server.Needs { return server.Needs{StateOnly: true} }

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
		return columns.print(s.out, s.output, rows)
	}
	return v.command()
}

// show prints an object as JSON, or the pairs of names and values.
func (s *session) show(object any, pairs ...string) error {
	if s.output.format == "json" {
		return printJSON(s.out, object)
	}
	return printFields(s.out, pairs...)
}

// confirmed makes a verb that works only with --force; consequence says what would be lost.
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
