// Package systemd_test checks the units by systemd's own tools.
package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exposure is the most that systemd may find open to a unit, of 10: what is
// left are the network and, for functions, memory that code is written to.
const exposure = "15" // 1.5

func tool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// installed is a unit as it would be where its program exists.
func installed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "ExecStart=/usr/local/bin/chandler ") {
		t.Errorf("%s starts another program", name)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "/usr/local/bin/chandler", os.Args[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUnits(t *testing.T) {
	units, err := filepath.Glob("*.service")
	if err != nil || len(units) != 2 {
		t.Fatal(units, err)
	}
	analyze := tool(t)
	for _, name := range units {
		t.Run(name, func(t *testing.T) {
			path := installed(t, name)
			out, err := exec.CommandContext(t.Context(), analyze, "verify", path).CombinedOutput()
			if err != nil || len(out) > 0 { // what it only warns of is ignored by systemd
				t.Errorf("verify: %v\n%s", err, out)
			}
			out, err = exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold="+exposure, path).CombinedOutput()
			if err != nil {
				t.Errorf("security: %v\n%s", err, out)
			}
		})
	}
}

// A misspelt directive has to be found, or the test above finds nothing.
func TestFaultyUnit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faulty.service")
	if err := os.WriteFile(path, []byte("[Service]\nExecStart="+os.Args[0]+"\nNoNewPriviliges=yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), tool(t), "verify", path).CombinedOutput()
	if err == nil && len(out) == 0 {
		t.Error("not found")
	}
	if err := exec.CommandContext(t.Context(), tool(t), "security", "--offline=true", "--threshold="+exposure, path).Run(); err == nil {
		t.Error("an open unit passed")
	}
}

// The examples of environments set what the program reads.
func TestEnvironments(t *testing.T) {
	variable := regexp.MustCompile(`(?m)^([A-Z0-9_]+)=`)
	for example, reader := range map[string]string{
		"chandler.env.example":  "../../docs/operator.md",
		"functions.env.example": "../../cmd/chandler/functions_settings.go",
	} {
		text, err := os.ReadFile(example)
		if err != nil {
			t.Fatal(err)
		}
		known, err := os.ReadFile(reader)
		if err != nil {
			t.Fatal(err)
		}
		found := variable.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s sets nothing", example)
		}
		for _, match := range found {
			if !strings.Contains(string(known), match[1]) {
				t.Errorf("%s: %s does not know %s", example, reader, match[1])
			}
		}
	}
}
