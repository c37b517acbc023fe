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

// wasip1 builds an action of testdata.
func wasip1(t *testing.T, name string) object {
	t.Helper()
	binary := filepath.Join(t.TempDir(), name+".wasm")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./testdata/"+name)
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
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
	files := wasip1(t, "files")
	for _, who := range []application{a, stranger} {
		who.expect(t, 200, "PUT", who.own("/actions/files"), files)
	}
	call := func(who application, params object) object {
		t.Helper()
		answer, _ := who.expect(t, 200, "POST", who.own("/actions/files?blocking=true&result=true"), params).(object)
		return answer
	}
	if got := call(a, object{"read": "/photos/a"}); got["content"] != "a photograph" {
		t.Errorf("a mounted file: %v", got)
	}
	if got := call(a, object{"write": "/var/scratch/new", "read": "/var/scratch/new"}); got["content"] != "written by an action" {
		t.Errorf("a file of its own: %v", got)
	}
	if content, err := os.ReadFile(filepath.Join(scratch, "new")); err != nil || string(content) != "written by an action" {
		t.Errorf("outside: %q, %v", content, err)
	}
	for name, try := range map[string]struct {
		who    application
		params object
	}{
		"a folder for reading":     {a, object{"write": "/photos/b"}},
		"beside the mount":         {a, object{"read": "/photos/../secret"}},
		"the machine's path":       {a, object{"read": filepath.Join(root, "secret")}},
		"the machine's files":      {a, object{"read": "/etc/passwd"}},
		"another tenant's mount":   {stranger, object{"read": "/photos/a"}},
		"another tenant's folder":  {stranger, object{"read": filepath.Join(photos, "a")}},
		"a file where no mount is": {stranger, object{"write": "/new"}},
	} {
		if got := call(try.who, try.params); got["fault"] == nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if err := os.Rename(photos, photos+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(photos, 0o755); err != nil {
		t.Fatal(err)
	}
	answer := a.expect(t, 500, "POST", a.own("/actions/files?blocking=true&result=true"), object{"read": "/photos/a"})
	if text, _ := answer.(object)["error"].(string); strings.Contains(text, root) {
		t.Errorf("the user is told of the machine's folders: %s", text)
	}
	operator.Namespace(t, space, admintest.Limits(), mounts[1:]...)
	if got := call(a, object{"read": "/photos/a"}); got["fault"] == nil {
		t.Errorf("after the mount was taken away: %v", got)
	}
	if got := call(a, object{"read": "/var/scratch/new"}); got["content"] != "written by an action" {
		t.Errorf("the mount that stayed: %v", got)
	}
}
