package main

import (
	"os/exec"
	"strings"
	"testing"
)

// The program can do without Chandler: only tests import its package embedded.
func TestImportsNothingOfChandler(t *testing.T) {
	const module = "github.com/chandler-broker/chandler/"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range strings.Fields(string(out)) {
		if rest, ours := strings.CutPrefix(path, module); ours && !strings.HasPrefix(rest, "functions/") {
			t.Errorf("it imports %s", path)
		}
	}
}
