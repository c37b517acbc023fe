package main

import (
	"context"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
)

// operatorFlags are the operator verbs' own: where the state is.
type operatorFlags struct {
	data   string
	output output
	// wide says that the verb has more columns for -o wide.
	wide bool
}

func (f *operatorFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "folder of a chandler dev, instead of DATABASE_URL and the other variables")
	f.output.flag(cmd, f.wide)
}

// run opens the state and the backends directly, without a broker, and closes
// them after do.
func (f *operatorFlags) run(cmd *cobra.Command, o openOptions, do func(ctx context.Context, a *app, w io.Writer) error) error {
	ctx := cmd.Context()
	withApp := func(s settings, check func(ctx context.Context, a *app) error) error {
		log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
		a, err := open(ctx, s, log, o)
		if err != nil {
			return err
		}
		defer a.close()
		if err := check(ctx, a); err != nil {
			return err
		}
		return do(ctx, a, cmd.OutOrStdout())
	}
	if f.data == "" {
		s, err := environmentSettings()
		if err != nil {
			return err
		}
		return withApp(s, func(context.Context, *app) error { return nil })
	}
	folder, err := openDevFolder(f.data, true)
	if err != nil {
		return err
	}
	defer folder.close()
	return folder.withServers(ctx, o.credentials, func() error {
		s, err := folder.settings()
		if err != nil {
			return err
		}
		return withApp(s, func(ctx context.Context, a *app) error {
			if !o.credentials {
				return nil
			}
			return folder.checkBindings(ctx, a)
		})
	})
}

// verb makes a subcommand of an operator's noun.
func (f *operatorFlags) verb(use, short string, args cobra.PositionalArgs, o openOptions,
	do func(ctx context.Context, a *app, w io.Writer, args []string) error,
) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: usageArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd, o, func(ctx context.Context, a *app, w io.Writer) error { return do(ctx, a, w, args) })
		},
	}
	f.add(cmd)
	return cmd
}

func usageArgs(args cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := args(cmd, given); err != nil {
			return usagef("%w; see '%s --help'", err, cmd.CommandPath())
		}
		return nil
	}
}

// pages calls fetch with the last key of the page before, until there are no more or
// the limit is reached; 0 is none.
func pages[T any](limit int, fetch func(after string, batch int32) ([]T, error), key func(T) string) ([]T, error) {
	var all []T
	for after := ""; ; {
		batch := pageSize
		if limit > 0 {
			batch = min(batch, limit-len(all))
		}
		page, err := fetch(after, int32(batch))
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
		if len(page) < batch || len(all) == limit {
			return all, nil
		}
		after = key(page[len(page)-1])
	}
}

const pageSize = 1000
