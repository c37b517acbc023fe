package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/server"
	"github.com/chandler-broker/chandler/services/all"
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
	if plans := c.WithoutBackups(); len(plans) > 0 {
		fmt.Fprintf(w, "%s: backups.required is false, and no store is configured: no backups are made of %s\n", s.CatalogPath, strings.Join(plans, ", "))
	}
	fmt.Fprintf(w, "%s: ok: %d backend(s), %d service(s), %d plan(s); %s\n", s.CatalogPath, len(c.Backends()), len(c.Services()), plans, state)
	return nil
}

func newCatalogInit() *cobra.Command {
	var only []string
	var path string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write an initial catalog: the shipped one, or only some of its backends",
		Long: `Init writes the shipped catalog, with its comments: all backends but those on OpenStack and
Ceph. With --only it writes just the backends of these types, their plans, and the services of
these plans:

  chandler catalog init --only database/postgres,dns/powerdns

The types are ` + strings.Join(backendTypes(), ", ") + `.
It then lists the variables that the catalog reads. It does not replace an existing file.`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := all.Catalog(only...)
			if err != nil {
				return usagef("--only: %w", err)
			}
			if path == "-" {
				_, err := cmd.OutOrStdout().Write(text)
				return err
			}
			return writeCatalog(path, text, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringSliceVar(&only, "only", nil, "types of backends, separated by commas (default: all but those on OpenStack and Ceph)")
	cmd.Flags().StringVar(&path, "file", "catalog.yml", "the file to write; - for standard output")
	return cmd
}

func backendTypes() []string {
	var types []string
	for _, d := range all.Definitions() {
		types = append(types, d.Name)
	}
	slices.Sort(types)
	return types
}

func writeCatalog(path string, text []byte, w io.Writer) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("--file %s: the file exists already; name another one, or move it away", path)
	} else if err != nil {
		return usagef("--file: %w", err)
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write the catalog: %w", err)
	}
	fmt.Fprintf(w, "%s: written. It reads the variables %s.\n", path, strings.Join(variablesOf(text), ", "))
	fmt.Fprintf(w, "Look through its descriptions and tags, set the variables, and run: chandler catalog check --catalog %s\n", path)
	return nil
}

var catalogVariable = regexp.MustCompile(`\$\{([A-Z_][A-Z0-9_]*)\}`)

// variablesOf are the variables that the text reads outside of comments.
func variablesOf(text []byte) []string {
	var names []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for _, m := range catalogVariable.FindAllStringSubmatch(line, -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
