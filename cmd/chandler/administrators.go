package main

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/server"
)

var variableName = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

func newAdministrators() *cobra.Command {
	cmd := newNoun("administrators", "Keep the catalog's secret variables in the credential store",
		variablesVerb("list", "List the names of the variables in the credential store", cobra.NoArgs,
			func(ctx context.Context, cmd *cobra.Command, v *server.Variables, _ []string) error {
				names, err := v.Names(ctx)
				for _, name := range names {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return err
			}),
		variablesVerb("set NAME", "Store a value, read from standard input", cobra.ExactArgs(1),
			func(ctx context.Context, cmd *cobra.Command, v *server.Variables, args []string) error {
				text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<20))
				if err != nil {
					return fmt.Errorf("read standard input: %w", err)
				}
				value := strings.TrimRight(string(text), "\r\n")
				if value == "" {
					return usagef("standard input is empty: send the value there, such as with < file")
				}
				return v.Set(ctx, args[0], value)
			}),
		variablesVerb("unset NAME", "Remove a value", cobra.ExactArgs(1),
			func(ctx context.Context, _ *cobra.Command, v *server.Variables, args []string) error {
				return v.Unset(ctx, args[0])
			}))
	cmd.Long = `The catalog's ${NAME} is the environment's variable of that name or, without one, the
credential store's. Running brokers notice within seconds that a value in the credential
store was replaced, and reopen the backends that use it, if they are ready with it. A value
is read from standard input, so that it never appears in the list of processes:

  chandler administrators set POSTGRES_ADMIN_URL < file

In Vault these are the keys of the secret "administrators" below VAULT_KV_PREFIX.`
	return cmd
}

// variablesVerb is a verb that needs the credential store and no catalog.
func variablesVerb(use, short string, args cobra.PositionalArgs, do func(context.Context, *cobra.Command, *server.Variables, []string) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: usageArgs(args),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && !variableName.MatchString(args[0]) {
				return usagef("%q: a variable's name must consist of capital letters, digits and _", args[0])
			}
			s, err := environmentSettings()
			if err != nil {
				return err
			}
			defer s.Variables.Close()
			return do(cmd.Context(), cmd, s.Variables, args)
		},
	}
}
