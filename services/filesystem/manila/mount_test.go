package manila

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The command in the credentials mounts the share, without a key in its arguments.
func TestMountCommand(t *testing.T) {
	t.Parallel()
	b := newClientCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		t.Run(string(role), func(t *testing.T) {
			c := bound(t, b, inst, newBinding(t, inst, string(role), role))
			commands, _ := c.Values["mount"].(map[string]any)
			for _, command := range commands {
				if strings.Contains(command.(string), c.Values["key"].(string)) {
					t.Errorf("the key is in %s", command)
				}
			}
			keyring, folder := filepath.Join(t.TempDir(), "keyring"), t.TempDir()
			if err := os.WriteFile(keyring, []byte(c.Values["keyring"].(string)), 0o600); err != nil {
				t.Fatal(err)
			}
			words := strings.Fields(strings.Replace(commands["ceph_fuse"].(string), " /mnt", " "+folder, 1))
			command := exec.CommandContext(testContext(t), words[0], words[1:]...) //nolint:gosec // the test's own
			// The variable stands for /etc/ceph, where the README has the file saved.
			command.Env = append(os.Environ(), "CEPH_KEYRING="+keyring, "CEPH_CONF=/dev/null")
			command.Dir = t.TempDir()
			if out, err := command.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Cleanup(func() { _ = syscall.Unmount(folder, syscall.MNT_DETACH) })
			err := os.WriteFile(filepath.Join(folder, "file"), []byte("content"), 0o600)
			if wrote := err == nil; wrote != (role == access.ReadWrite) {
				t.Errorf("write: %v", err)
			}
			if content, err := os.ReadFile(filepath.Join(folder, "file")); err != nil || string(content) != "content" {
				t.Errorf("read: %q, %v", content, err)
			}
		})
	}
	kernel := bound(t, b, inst, newBinding(t, inst, "k", access.ReadOnly)).Values["mount"].(map[string]any)["kernel"].(string)
	for _, words := range []string{"mount -t ceph ", ":/volumes/", " /mnt -o name=mtest-share-", ",ro"} {
		if !strings.Contains(kernel, words) {
			t.Errorf("%q lacks %q", kernel, words)
		}
	}
}

// Unbind refuses new mounts to everyone with the key. Ceph ends the open ones of the share's root,
// and of others only when its administrator says so: the README tells how.
func TestMountOfASubdirectory(t *testing.T) {
	t.Parallel()
	b := newClientCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	bd := newBinding(t, inst, "b", access.ReadWrite)
	c := bound(t, b, inst, bd)
	whole := dialled(t, c)
	if err := os.Mkdir(whole.file("sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	within := at(delivered(t, c), map[string]any{"path": c.Values["path"].(string) + "/sub"})
	part, err := dial(testContext(t), within)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = part.Close() })
	if err := servicetest.Patient(b).Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := whole.Ping(testContext(t)); !errors.Is(err, syscall.ESHUTDOWN) {
		t.Errorf("the whole share: %v", err)
	}
	if _, err := dial(testContext(t), within); err == nil {
		t.Error("was mounted again")
	}
	if err := part.Ping(testContext(t)); err != nil {
		t.Logf("Ceph ends this session by itself, so the README is wrong: %v", err)
		t.Fail()
	}
	if _, err := ceph(testContext(t), "tell", "mds.cephfs:0", "session", "evict", "auth_name="+c.Values["id"].(string)); err != nil {
		t.Fatal(err)
	}
	await(t, "waiting for the eviction", func() bool { return part.Ping(testContext(t)) != nil })
}

// The size is the client's to enforce, as the README says.
func TestClientWithoutQuota(t *testing.T) {
	t.Parallel()
	b := newClientCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	c := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite))
	s, err := mount(testContext(t), c.Values["keyring"].(string), "-m", versioned(c.Values["monitors"].([]any)[0].(string)),
		"-n", "client."+c.Values["id"].(string), "-r", c.Values["path"].(string), "--client_quota=false")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := os.WriteFile(s.file("big"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(s.file("big"), int64(2*services.Gigabyte)); err != nil {
		t.Logf("Ceph enforces the size by itself, so the README is wrong: %v", err)
		t.Fail()
	}
}

// A client's session leaves nothing on the machine, whatever becomes of it.
func TestSessionCloses(t *testing.T) {
	t.Parallel()
	b := newClientCloud(t).backend(t, "mtest")
	inst := provisioned(t, b, nil)
	bd := newBinding(t, inst, "b", access.ReadWrite)
	c := bound(t, b, inst, bd)
	for name, spoil := range map[string]func(s *session){
		"nothing": func(*session) {},
		"killed":  func(s *session) { _ = s.process.command.Process.Kill() },
		"evicted": func(*session) { _ = servicetest.Patient(b).Unbind(testContext(t), inst, bd) },
	} {
		if name == "evicted" {
			c = bound(t, b, inst, bd)
		}
		s := dialled(t, c)
		spoil(s)
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(s.folder); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: its folder is left: %v", name, err)
		}
		c = bound(t, b, inst, bd)
	}
	const nonsense = "a keyring of nonsense"
	for _, change := range []map[string]any{{"keyring": nonsense}, {"path": "/elsewhere"}, {"monitors": []any{"127.0.0.1:1"}}} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		if s, err := dial(ctx, at(delivered(t, c), change)); err == nil {
			_ = s.Close()
			t.Errorf("%v: mounted", change)
		} else if strings.Contains(fmt.Sprint(err), c.Values["key"].(string)) {
			t.Errorf("%v: the error contains the key", change)
		}
		cancel()
	}
	for _, file := range keyrings(t) {
		text, _ := os.ReadFile(file) //nolint:gosec // perhaps another test's, which has removed it
		if strings.Contains(string(text), nonsense) || strings.Contains(string(text), c.Values["id"].(string)) {
			t.Errorf("left: %s", file)
		}
	}
}

// keyrings are the files that sessions have made on this machine.
func keyrings(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.TempDir(), "chandler-cephfs-*", "keyring"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestNoClient(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := dial(t.Context(), map[string]any{"monitors": []any{"127.0.0.1:1"}, "path": "/", "id": "x", "keyring": "y"})
	expect(t, err, "ceph-fuse is not installed", "apt-get install ceph-fuse")
}
