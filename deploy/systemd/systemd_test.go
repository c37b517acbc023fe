// Package systemd_test checks the units by systemd's own tools.
package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	program := "/usr/local/bin/" + strings.TrimSuffix(name, ".service")
	if !regexp.MustCompile(`(?m)^ExecStart=` + program + `( .*)?$`).Match(text) {
		t.Errorf("%s starts another program", name)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte(program), []byte(os.Args[0])), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// verify returns what systemd says against the unit itself, warnings included: it
// ignores what it warns of. The units that ours refers to are loaded as well, and
// those of other packages may have faults of their own.
func verify(t *testing.T, path, unitPath string) (complaints []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tool(t), "verify", "--recursive-errors=no", path)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+unitPath+":")
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, filepath.Base(path)) {
			complaints = append(complaints, line)
		}
	}
	if err != nil && complaints == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return complaints
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
			if complaints := verify(t, path, ""); complaints != nil {
				t.Errorf("verify: %q", complaints)
			}
			out, err := exec.CommandContext(t.Context(), analyze, "security", "--offline=true", "--threshold="+exposure, path).CombinedOutput()
			if err != nil {
				t.Errorf("security: %v\n%s", err, out)
			}
		})
	}
}

// The broker reads its files again when they change, so it must see the files and
// not copies of them, which LoadCredential makes once, at the start.
func TestFilesAreCurrent(t *testing.T) {
	for unit, wanted := range map[string][]string{
		"chandler.service":           {"SupplementaryGroups=chandler", "Environment=CHANDLER_CATALOG=/etc/chandler/catalog.yml", "ExecReload=/bin/kill -HUP $MAINPID"},
		"chandler-functions.service": {"SupplementaryGroups=chandler"},
	} {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(text), "\n")
		for _, line := range wanted {
			if !slices.Contains(lines, line) {
				t.Errorf("%s lacks %s", unit, line)
			}
		}
		if strings.Contains(string(text), "LoadCredential=") {
			t.Errorf("%s copies files", unit)
		}
	}
	dry := exec.CommandContext(t.Context(), "systemd-sysusers", "--dry-run", "--root="+t.TempDir(), "--inline", sysusers(t))
	if out, err := dry.CombinedOutput(); err != nil || !strings.Contains(string(out), "chandler") {
		t.Errorf("%v\n%s", err, out)
	}
}

// sysusers is the one line that says what group there has to be.
func sysusers(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("chandler.sysusers.conf")
	if err != nil {
		t.Fatal(err)
	}
	_, line, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

// A misspelt directive has to be found, or the test above finds nothing.
func TestFaultyUnit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "faulty.service")
	if err := os.WriteFile(path, []byte("[Service]\nExecStart="+os.Args[0]+"\nNoNewPriviliges=yes\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if verify(t, path, "") == nil {
		t.Error("not found")
	}
	if err := exec.CommandContext(t.Context(), tool(t), "security", "--offline=true", "--threshold="+exposure, path).Run(); err == nil {
		t.Error("an open unit passed")
	}
}

// A fault in another package's unit is not ours.
func TestForeignUnit(t *testing.T) {
	foreign := t.TempDir()
	if err := os.WriteFile(filepath.Join(foreign, "network-online.target"), []byte("[Unit]\nDescripton=foreign\nRequires=missing.service\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if complaints := verify(t, installed(t, "chandler.service"), foreign); complaints != nil {
		t.Errorf("%q", complaints)
	}
}

// The examples of environments set what the program reads.
func TestEnvironments(t *testing.T) {
	variable := regexp.MustCompile(`(?m)^([A-Z0-9_]+)=`)
	for example, reader := range map[string]string{
		"chandler.env.example":  "../../docs/operator.md",
		"functions.env.example": "../../functions/cmd/chandler-functions/settings.go",
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
