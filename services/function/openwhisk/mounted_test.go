package openwhisk

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
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

// bound provisions inst and makes a binding of it.
func (b *backend) bound(t testing.TB, inst instance, name string) application {
	t.Helper()
	if err := servicetest.Once(b).Provision(t.Context(), inst); err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := servicetest.Once(b).Bind(t.Context(), inst, binding{ID: name, Name: services.BindingName(inst.ID, name), Seed: seed, Params: BindingParams{Role: state.ReadWrite}})
	if err != nil {
		t.Fatal(err)
	}
	return newApplication(t, c.Values)
}

// An action sees the mounts of its namespace and nothing else of the machine, also
// after an update; a folder that took another one's place is not taken for it.
func TestMountedFolders(t *testing.T) {
	server := newServer(t)
	b, err := open(t.Context(), Config{DatabaseURL: services.NewSecret(server.database), APIHost: server.url})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
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
	inst := testInstance(t, `{"mounts": [{"instance": "p", "path": "/photos", "read_only": true}, {"instance": "s", "path": "/var/scratch"}]}`)
	inst.Directories = map[string]string{"p": photos, "s": scratch}
	a := b.bound(t, inst, "b")
	other := testInstance(t, `{}`)
	other.ID, other.Name = "other", services.InstanceName("other")
	stranger := b.bound(t, other, "b")
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
	next := inst
	next.Params.Mounts = inst.Params.Mounts[1:]
	if err := servicetest.Once(b).Update(t.Context(), inst, next); err != nil {
		t.Fatal(err)
	}
	if got := call(a, object{"read": "/photos/a"}); got["fault"] == nil {
		t.Errorf("after the mount was taken away: %v", got)
	}
	if got := call(a, object{"read": "/var/scratch/new"}); got["content"] != "written by an action" {
		t.Errorf("the mount that stayed: %v", got)
	}
}
