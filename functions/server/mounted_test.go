package server

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/functions/admin/admintest"
)

// guest builds the sandbox's action for tests.
func guest(t *testing.T) object {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "guest.wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "../sandbox/testdata/guest")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the guest: %v\n%s", err, out)
	}
	code, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	return object{"exec": object{"kind": "wasm:default", "binary": true, "code": base64.StdEncoding.EncodeToString(code)}}
}

// An action sees the mounts of its namespace and nothing else of the machine, also
// after an update; a folder that took another one's place is not taken for it.
func TestMountedFolders(t *testing.T) {
	server := newServer(t)
	root := t.TempDir()
	photos, scratch := filepath.Join(root, "photos"), filepath.Join(root, "scratch")
	for _, folder := range []string{photos, scratch} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for file, content := range map[string]string{filepath.Join(photos, "a"): "a photograph", filepath.Join(root, "secret"): "a secret"} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	operator := server.operator(t)
	mounts := []admintest.Mount{{Instance: "p", Path: "/photos", Folder: photos, ReadOnly: true}, {Instance: "s", Path: "/var/scratch", Folder: scratch}}
	a := server.bound(t, operator, space, admintest.Limits(), mounts...)
	stranger := server.bound(t, operator, "other", admintest.Limits())
	files := guest(t)
	for _, who := range []application{a, stranger} {
		who.expect(t, 200, "PUT", who.own("/actions/files"), files)
	}
	call := func(who application, do, path string) object {
		t.Helper()
		params := object{"do": do, "path": path, "text": "written by an action"}
		status, answer := who.do(t, "POST", who.own("/actions/files?blocking=true&result=true"), params)
		if status == 500 { // the platform failed, not the guest
			t.Fatalf("%s %s: %v", do, path, answer)
		}
		got, _ := answer.(object)
		return got
	}
	if got := call(a, "read", "/photos/a"); got["content"] != "a photograph" {
		t.Errorf("a mounted file: %v", got)
	}
	if got := call(a, "write", "/var/scratch/new"); got["result"] != "" {
		t.Errorf("write a file: %v", got)
	}
	if got := call(a, "read", "/var/scratch/new"); got["content"] != "written by an action" {
		t.Errorf("read it: %v", got)
	}
	if content, err := os.ReadFile(filepath.Join(scratch, "new")); err != nil || string(content) != "written by an action" {
		t.Errorf("outside: %q, %v", content, err)
	}
	for name, try := range map[string]struct {
		who      application
		do, path string
	}{
		"a folder for reading":     {a, "write", "/photos/b"},
		"beside the mount":         {a, "read", "/photos/../secret"},
		"the machine's path":       {a, "read", filepath.Join(root, "secret")},
		"the machine's files":      {a, "read", "/etc/passwd"},
		"another tenant's mount":   {stranger, "read", "/photos/a"},
		"another tenant's folder":  {stranger, "read", filepath.Join(photos, "a")},
		"a file where no mount is": {stranger, "write", "/new"},
	} {
		got := call(try.who, try.do, try.path)
		if fault, _ := got[map[string]string{"read": "error", "write": "result"}[try.do]].(string); fault == "" {
			t.Errorf("%s: %v", name, got)
		}
	}
	if err := os.Rename(photos, photos+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(photos, 0o755); err != nil {
		t.Fatal(err)
	}
	answer := a.expect(t, 500, "POST", a.own("/actions/files?blocking=true&result=true"), object{"do": "read", "path": "/photos/a"})
	if text, _ := answer.(object)["error"].(string); strings.Contains(text, root) {
		t.Errorf("the user is told of the machine's folders: %s", text)
	}
	operator.Namespace(t, space, admintest.Limits(), mounts[1:]...)
	if got := call(a, "read", "/photos/a"); got["error"] == nil {
		t.Errorf("after the mount was removed: %v", got)
	}
	if got := call(a, "read", "/var/scratch/new"); got["content"] != "written by an action" {
		t.Errorf("the mount that stayed: %v", got)
	}
}
