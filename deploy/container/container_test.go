// Package container_test checks what an image holds by running it: the program in
// an otherwise empty file system.
package container_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// instructions are the Containerfile's.
func instructions(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, match := range regexp.MustCompile(`(?m)^([A-Z]+) (.*)$`).FindAllStringSubmatch(string(text), -1) {
		found[match[1]] = append(found[match[1]], match[2])
	}
	return found
}

// The image is the two programs, run by nobody; with these files alone they work.
func TestImage(t *testing.T) {
	found := instructions(t)
	if len(found["RUN"])+len(found["ADD"]) > 0 || strings.Join(found["FROM"], ",") != "scratch" {
		t.Fatal("the image holds more than its COPY says")
	}
	copied := regexp.MustCompile(`^--chmod=755 chandler chandler-functions (\S+)/$`).FindStringSubmatch(strings.Join(found["COPY"], "\n"))
	user := strings.Join(found["USER"], ",")
	if copied == nil || user != "65532:65532" || strings.Join(found["ENTRYPOINT"], ",") != `["`+copied[1]+`/chandler"]` {
		t.Fatalf("COPY %q, USER %q, ENTRYPOINT %q", found["COPY"], user, found["ENTRYPOINT"])
	}
	if os.Getuid() != 0 {
		t.Skip("changing the root needs root")
	}
	root := t.TempDir()
	programs := filepath.Join(root, copied[1])
	for name, module := range map[string]string{"chandler": "../..", "chandler-functions": "../../functions"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-C", module, "-trimpath", "-o", filepath.Join(programs, name), "./cmd/"+name)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for dir := programs; dir != filepath.Dir(root); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // nobody is to read it
			t.Fatal(err)
		}
	}
	catalog := filepath.Join(root, "catalog.yml")                                  // mounted, in a pod
	if err := os.WriteFile(catalog, []byte("services: []\n"), 0o644); err != nil { //nolint:gosec // nobody is to read it
		t.Fatal(err)
	}
	for _, c := range []struct {
		command string
		code    int
		want    string
	}{
		{"chandler version", 0, "go1."},
		{"chandler catalog check", 0, "ok"},
		{"chandler serve", 2, "DATABASE_URL is not set"},
		{"chandler-functions", 2, "FUNCTIONS_DATABASE_URL"},
	} {
		args := strings.Fields(c.command)
		cmd := exec.CommandContext(t.Context(), filepath.Join(copied[1], args[0]), args[1:]...)
		cmd.Dir, cmd.Env = "/", []string{"CHANDLER_CATALOG=/catalog.yml"}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		_ = cmd.Run()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s ends with %d: %s", c.command, code, out.String())
		}
	}
}
