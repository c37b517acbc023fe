// Package docs_test holds the pages to what they say: links lead somewhere, and the
// worked example of backend-author.md is the one that passes the suite.
package docs_test

import (
	"encoding/json"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// code are the files in a page's fenced blocks: blocks of one name go together.
func code(t *testing.T, page string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```[a-z]+ (\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		files[block[1]] += block[2] + "\n"
	}
	return files
}

// overlay makes the go command take files for a package of the forum's module at folder,
// without writing there: that module has all the libraries that developers are shown. It
// returns the module's folder and the overlay's file.
func overlay(t *testing.T, folder string, files map[string]string) (root, list string) {
	t.Helper()
	root, err := filepath.Abs("../examples/forum")
	if err != nil {
		t.Fatal(err)
	}
	folder = filepath.Join(root, folder)
	if _, err := os.Stat(folder); err == nil {
		t.Fatalf("%s exists: the example has to be another", folder)
	}
	replace := map[string]string{}
	for name, text := range files {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(folder, name)] = path
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	list = filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return root, list
}

// runs compiles the tests of a package that is an overlay, and runs them.
func runs(t *testing.T, folder string, files map[string]string, want string) {
	t.Helper()
	root, list := overlay(t, folder, files)
	program := filepath.Join(t.TempDir(), "suite")
	build := exec.CommandContext(t.Context(), "go", "test", "-race", "-vet=off", "-c", "-o", program, "-overlay", list, "./"+folder)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.CommandContext(t.Context(), program, "-test.v")
	run.Dir = t.TempDir()
	if out, err := run.CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v\n%s", err, failures(out))
	}
}

// The worked example is a module of its own, whose tests run the suite; the page
// shows its files.
func TestWorkedExample(t *testing.T) {
	files := code(t, "backend-author.md")
	if len(files) != 5 {
		t.Fatalf("%d files", len(files))
	}
	for name, text := range files {
		if filepath.Ext(name) == ".go" {
			formatted, err := format.Source([]byte(text))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			text = string(formatted)
		}
		text = strings.TrimRight(text, "\n") + "\n"
		path := filepath.Join("..", "examples", "backend", name)
		if *update {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if have, err := os.ReadFile(path); err != nil || string(have) != text {
			t.Errorf("%s differs from the page (%v); write it with: go test ./docs -run WorkedExample -update", path, err)
		}
	}
}

const readsCredentials = `package app

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCredentials(t *testing.T) {
	t.Setenv("VCAP_SERVICES", "{\"database\": [{\"credentials\": {\"type\": \"postgresql\", \"port\": 5432}}]}")
	if c, err := Credentials("postgresql"); err != nil || c["port"] != "5432" {
		t.Error(c, err)
	}
	root := t.TempDir()
	t.Setenv("SERVICE_BINDING_ROOT", root)
	for name, text := range map[string]string{"type": "nats", "uri": "nats://x"} {
		path := filepath.Join(root, "orders", name)
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		_ = os.WriteFile(path, []byte(text), 0o600)
	}
	if c, err := Credentials("nats"); err != nil || c["uri"] != "nats://x" {
		t.Error(c, err)
	}
	if _, err := Credentials("dns"); err == nil {
		t.Error("a service that is not bound")
	}
}
`

// What developers are shown compiles, with the libraries that it names, and reads
// credentials on either platform.
func TestDevelopersCode(t *testing.T) {
	files := code(t, "developer.md")
	if len(files) < 6 {
		t.Fatalf("%d files", len(files))
	}
	files["credentials_test.go"] = readsCredentials
	runs(t, "developer", files, "--- PASS: TestCredentials")
}

// failures are the lines of a test's output that say what failed.
func failures(out []byte) string {
	var lines []string
	for line := range strings.Lines(string(out)) {
		if !regexp.MustCompile(`^\s*(=== |--- (PASS|SKIP))`).MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// anchors are the names that headings of a page have for links, as GitHub makes
// them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.ToLower(h[1])
		name = regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(name, "")
		found[strings.ReplaceAll(name, " ", "-")] = true
	}
	return found
}

// Links between pages lead to files and headings that there are.
func TestLinks(t *testing.T) {
	pages, links := 0, 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "bin" || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != "..") {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pages++
		for _, match := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(match[1], "://") || strings.HasPrefix(match[1], "mailto:") {
				continue
			}
			links++
			target, anchor, _ := strings.Cut(match[1], "#")
			file := path
			if target != "" {
				file = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s leads nowhere", path, match[1])
				continue
			}
			if anchor == "" {
				continue
			}
			there, err := os.ReadFile(file)
			if err != nil || !anchors(string(there))[anchor] {
				t.Errorf("%s: %s has no such heading", path, match[1])
			}
		}
		return nil
	})
	if err != nil || pages < 10 || links < 50 {
		t.Errorf("%d pages, %d links, %v", pages, links, err)
	}
}
