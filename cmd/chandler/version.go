package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what a binary records about its build.
type build struct {
	// Version derives from the commit and its tag, such as v1.2.3.
	Version string
	// Commit is the full hash; empty if the sources were no checkout.
	Commit string
	// Go is the version of the compiler.
	Go string
}

// readBuild reads the go command's record.
func readBuild() build {
	b := build{Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
		if v := info.Main.Version; v != "(devel)" {
			b.Version = v
		}
	}
	b.Version = cmp.Or(b.Version, b.Commit, "development")
	return b
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version",
		Args:  usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := readBuild()
			return printFields(cmd.OutOrStdout(), "version", b.Version, "commit", b.Commit, "go", b.Go,
				"platform", fmt.Sprintf("%s/%s", runtime.GOOS, runtime.GOARCH))
		},
	}
}
