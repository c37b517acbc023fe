package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/server"
)

func newCatalog() *cobra.Command {
	return newNoun("catalog", "Work on catalog.yml", newCatalogCheck(), newCatalogInit())
}

func newCatalogCheck() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check catalog.yml as serve does, and against the state where DATABASE_URL is set",
		Long: `Check reports everything that is wrong with the catalog together, each fault with file,
line and path, and ends with 2 if there is any. With DATABASE_URL it also compares the
catalog with the state: a plan that has instances cannot vanish, change its id or move
to another backend, and a server that has some cannot vanish.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := environmentSettings()
			if err != nil {
				return err
			}
			if path != "" {
				s.CatalogPath = path
			}
			c, err := server.LoadCatalog(s.Settings)
			if err != nil {
				return err
			}
			return checkCatalog(cmd.Context(), s, c, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&path, "catalog", "", "the file (default: CHANDLER_CATALOG, or catalog.yml)")
	return cmd
}

func checkCatalog(ctx context.Context, s settings, c *catalog.Catalog, w io.Writer) error {
	plans := 0
	for _, b := range c.Backends() {
		plans += len(c.PlansOf(b.Name))
	}
	state := "not compared with the state: DATABASE_URL is not set"
	if s.DatabaseURL != "" {
		db, err := server.OpenState(ctx, s.Settings, 2)
		if err != nil {
			return err
		}
		defer db.Close()
		empty, err := server.CheckState(ctx, c, db)
		if err != nil {
			return err
		}
		if state = "agrees with the state"; empty {
			state = "the state database is empty: no broker has used it yet"
		}
	}
	fmt.Fprintf(w, "%s: ok: %d backend(s), %d service(s), %d plan(s); %s\n", s.CatalogPath, len(c.Backends()), len(c.Services()), plans, state)
	return nil
}
