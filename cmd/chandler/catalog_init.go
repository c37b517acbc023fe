package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/services/all"
)

func newCatalogInit() *cobra.Command {
	var only []string
	var path string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write an initial catalog: the shipped one, or only some of its backends",
		Long: `Init writes the shipped catalog, with its comments. With --only it writes just the backends
of these types, their plans, and the services of these plans:

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
	cmd.Flags().StringSliceVar(&only, "only", nil, "types of backends, separated by commas (default: all)")
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
