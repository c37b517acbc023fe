package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page's commands open a backup without Chandler, with the real tools.
func TestBackupsPageTools(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("zstd is not installed")
	}
	page, err := os.ReadFile("../../docs/backups.md")
	if err != nil {
		t.Fatal(err)
	}
	tools := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", tools+"/", "filippo.io/age/cmd/age", "filippo.io/age/cmd/age-keygen")
	build.Dir = "../../acceptance" // whose module has what only tests need
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := storeBackup(t) // changes the working directory
	run := func(pattern string, rename ...string) {
		t.Helper()
		line := regexp.MustCompile(`(?m)^ *(` + pattern + `.*)$`).FindStringSubmatch(string(page))
		if line == nil {
			t.Fatalf("the page has no %s", pattern)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", strings.NewReplacer(rename...).Replace(line[1]))
		cmd.Env = append(os.Environ(), "PATH="+tools+":"+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line[1], err, out)
		}
	}
	run("age-keygen ")
	made, err := os.ReadFile("backups.key")
	if err != nil || !regexp.MustCompile(`(?m)^# public key: age1`).Match(made) {
		t.Errorf("the key's file is %q: %v", made, err)
	}
	objects, err := filepath.Glob(filepath.Join(b.bucket, filepath.FromSlash(b.Name())+".*.age"))
	if err != nil || len(objects) != 1 {
		t.Fatal(objects, err)
	}
	run("age --decrypt ", "BACKUP.RANDOM.age", objects[0], "backups.key", b.key)
	if got, err := os.ReadFile("copy.dump"); err != nil || string(got) != "the copy" {
		t.Errorf("the copy is %q: %v", got, err)
	}
}
