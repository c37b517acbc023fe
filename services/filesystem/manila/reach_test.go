package manila

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// at returns changed credentials.
func at(credentials map[string]any, change map[string]any) map[string]any {
	changed := map[string]any{}
	for key, value := range credentials {
		changed[key] = value
	}
	for key, value := range change {
		changed[key] = value
	}
	return changed
}

// reach tries to get from one share into another, and to Ceph's administration.
func reach(t *testing.T, mine, theirs map[string]any) {
	own, their := mine["path"].(string), theirs["path"].(string)
	for name, credentials := range map[string]map[string]any{
		"their path":                   at(mine, map[string]any{"path": their}),
		"the root":                     at(mine, map[string]any{"path": "/"}),
		"all shares":                   at(mine, map[string]any{"path": path.Dir(path.Dir(own))}),
		"the folder above mine":        at(mine, map[string]any{"path": path.Dir(own)}),
		"a path out of mine":           at(mine, map[string]any{"path": own + "/../../../.." + their}),
		"their path with a longer one": at(mine, map[string]any{"path": their + "/secret"}),
		"their identity with my key":   at(theirs, map[string]any{"keyring": strings.ReplaceAll(mine["keyring"].(string), mine["id"].(string), theirs["id"].(string))}),
		"Ceph's administrator":         at(mine, map[string]any{"id": "admin", "keyring": strings.ReplaceAll(mine["keyring"].(string), mine["id"].(string), "admin")}),
		"Manila's identity":            at(mine, map[string]any{"id": "manila", "keyring": strings.ReplaceAll(mine["keyring"].(string), mine["id"].(string), "manila")}),
	} {
		t.Run(name, func(t *testing.T) {
			if s, err := dial(testContext(t), credentials); err == nil {
				_ = s.Close()
				t.Error("was mounted")
			}
		})
	}
	s, err := dial(testContext(t), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	escapes(t, s.(*session), their)
	commands(t, mine, theirs)
}

// escapes tries to get out of a mounted share, and to change its limits.
func escapes(t *testing.T, s *session, their string) {
	link := filepath.Join(s.mounted, "link")
	if err := os.Symlink(their, link); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"a link to theirs": func() error { _, err := os.ReadDir(link); return err }(),
		"the size":         unix.Setxattr(s.mounted, "ceph.quota.max_bytes", []byte("0"), 0),
		"the files":        unix.Setxattr(s.mounted, "ceph.quota.max_files", []byte("1"), 0),
		"another pool":     unix.Setxattr(s.mounted, "ceph.dir.layout.pool", []byte("cephfs_meta"), 0),
		"their namespace":  unix.Setxattr(s.mounted, "ceph.dir.layout.pool_namespace", []byte("fsvolumens_theirs"), 0),
		"a snapshot":       os.Mkdir(filepath.Join(s.mounted, ".snap", "mine"), 0o700),
	} {
		if err == nil {
			t.Errorf("%s: was allowed", name)
		}
	}
}

// commands gives Ceph commands with an application's key.
func commands(t *testing.T, mine, theirs map[string]any) {
	ring := filepath.Join(t.TempDir(), "ring")
	if err := os.WriteFile(ring, []byte(mine["keyring"].(string)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{
		"auth ls", "auth get client.admin", "auth get client." + theirs["id"].(string), "auth get-key client." + theirs["id"].(string),
		"auth caps client." + mine["id"].(string) + " mon 'allow *'", "auth add client.mine", "auth rm client." + theirs["id"].(string),
		"fs subvolume ls cephfs", "fs subvolume authorize cephfs x mine", "config set global x y", "osd pool create mine",
		"config-key ls", "tell mds.0 session ls",
	} {
		t.Run("ceph "+strings.ReplaceAll(command, theirs["id"].(string), "theirs"), func(t *testing.T) {
			arguments := append([]string{"--connect-timeout", "10", "-n", "client." + mine["id"].(string), "-k", ring}, strings.Fields(command)...)
			out, err := exec.CommandContext(testContext(t), "ceph", arguments...).CombinedOutput()
			if err == nil {
				t.Errorf("was allowed: %s", out)
			}
		})
	}
}

// manyClients leaves many sessions of one identity, each with a folder of many files.
func manyClients(t *testing.T, mine map[string]any, _ ...map[string]any) {
	for range 5 {
		s, err := dial(testContext(t), mine)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() }) // it was cut
		folder, err := os.MkdirTemp(s.(*session).mounted, "many")
		if err != nil {
			t.Fatal(err)
		}
		for range 50 {
			f, err := os.CreateTemp(folder, "file")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
		}
	}
}

// holdsStorage exceeds the size of a share with a file that has a hole, which counts like any other.
func holdsStorage(t *testing.T, use servicetest.Use) {
	s, err := dial(testContext(t), use.Bind(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	name := s.(*session).file("big")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// In one step: a client counts what it has just written with a delay.
	if err := os.Truncate(name, int64(services.Gigabyte+services.Megabyte)); err == nil {
		t.Error("more than the size was allowed")
	}
	if err := os.Truncate(name, int64(services.Gigabyte-services.Megabyte)); err != nil {
		t.Errorf("less than the size: %v", err)
	}
	var total unix.Statfs_t
	if err := unix.Statfs(s.(*session).mounted, &total); err != nil || total.Blocks*uint64(total.Bsize) != uint64(services.Gigabyte) { //nolint:gosec // a block's size
		t.Errorf("df shows %d bytes, %v", total.Blocks*uint64(total.Bsize), err) //nolint:gosec // a block's size
	}
}
