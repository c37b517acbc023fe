package workspace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded"
)

// The runtime's program is the one beside this program, or else the one in PATH;
// without either the error says where to put it.
func TestFindFunctions(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	place := func(dir string) string {
		t.Helper()
		path := filepath.Join(dir, FunctionsProgram)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	t.Setenv("PATH", t.TempDir())
	if _, err := findFunctions(); !embedded.NotInstalled(err) || !strings.Contains(err.Error(), "put chandler-functions into "+filepath.Dir(self)) {
		t.Errorf("without it: %v", err)
	}
	dir := t.TempDir()
	inPath := place(dir)
	t.Setenv("PATH", dir)
	if got, err := findFunctions(); got != inPath || err != nil {
		t.Errorf("in PATH: %q, %v", got, err)
	}
	beside := place(filepath.Dir(self))
	t.Cleanup(func() { _ = os.Remove(beside) })
	if got, err := findFunctions(); got != beside || err != nil {
		t.Errorf("beside: %q, %v", got, err)
	}
}

// A folder of an earlier version served the functions under the backend's former
// name.
func TestFolderOfFormerBackend(t *testing.T) {
	dir := t.TempDir()
	text := `{"only": ["database/postgres", "function/wasm"], "without": ["function/wasm", "dns/powerdns"]}`
	if err := os.WriteFile(filepath.Join(dir, "settings.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir, true)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := [][]string{f.Settings.Only, f.Settings.Without}
	if diff := cmp.Diff([][]string{{"database/postgres", "function/openwhisk"}, {"function/openwhisk", "dns/powerdns"}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"function/wasm", "function/openwhisk"} {
		if got, err := Backends([]string{name}); err != nil || got[0] != "function/openwhisk" {
			t.Errorf("--only %s: %q, %v", name, got, err)
		}
	}
}
