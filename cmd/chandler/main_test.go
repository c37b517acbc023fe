package main

import (
	"context"
	"os"
	"strings"
	"testing"
)

// A script tells a wrong call from a failed one by the exit code.
func TestExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"DATABASE_URL", "VAULT_ADDR", "CHANDLER_USERNAME", "CHANDLER_PASSWORD", "CHANDLER_CATALOG", "VCAP_SERVICES"} {
		t.Setenv(name, "")
	}
	if err := os.WriteFile("catalog.yml", []byte("services: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want int
	}{
		{"", 0},
		{"--version", 0},
		{"version", 0},
		{"version now", exitUsage},
		{"help serve", 0},
		{"catalog check", 0},
		{"catalog check --catalog none.yml", exitUsage},
		{"frobnicate", exitUsage},
		{"catalog frobnicate", exitUsage},
		{"serve --nope", exitUsage},
		{"serve now", exitUsage},
		{"serve", exitUsage},                      // no DATABASE_URL
		{"instances list", exitUsage},             // likewise
		{"instances show", exitUsage},             // which?
		{"instances list -o xml", exitUsage},      // no such format
		{"instances list --data none", exitUsage}, // no such folder
		{"dev --once", exitUsage},                 // needs --smoke
		{"dev --log-format none --data d", exitUsage},
		{"smoke", exitUsage}, // no user
		{"smoke --username u --password p --url http://127.0.0.1:1", exitFailed},
	} {
		t.Run(c.args, func(t *testing.T) {
			if got := run(context.Background(), strings.Fields(c.args)); got != c.want {
				t.Errorf("chandler %s: exit code %d, want %d", c.args, got, c.want)
			}
		})
	}
}

// The former command of the runtime names its program.
func TestFunctionsMoved(t *testing.T) {
	root := newRoot()
	root.SetArgs([]string{"functions", "--flag"})
	err := root.Execute()
	if !isUsage(err) || !strings.Contains(err.Error(), "run chandler-functions") {
		t.Error(err)
	}
}
