package main

import (
	"cmp"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

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
