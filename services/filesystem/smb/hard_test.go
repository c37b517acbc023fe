package smb

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// newHardServer is a server whose shares are on a btrfs of its own.
func newHardServer(t *testing.T, quotas bool) *testServer {
	t.Helper()
	mounted := embeddedtest.Btrfs(t, "512M")
	if quotas {
		embeddedtest.Command(t, "btrfs", "quota", "enable", mounted)
	}
	return &testServer{embeddedtest.Samba(t, mounted)}
}

func TestHardSuite(t *testing.T) {
	server := newHardServer(t, true)
	runSuite(t, server, []servicetest.Limit{
		{Name: "storage", Plan: json.RawMessage(`{"storage": "4MB", "delete_contents": true}`), Holds: holdsHardStorage},
		{Name: "files", Plan: json.RawMessage(`{"storage": "4MB", "files": 3, "delete_contents": true}`), Holds: holdsFiles},
	}, true)
	embeddedtest.Command(t, "btrfs", "filesystem", "sync", server.SharesFolder()) // or the kernel begins to clean up 30 s later
	embeddedtest.Command(t, "btrfs", "subvolume", "sync", server.SharesFolder())
	if groups := embeddedtest.Command(t, "btrfs", "qgroup", "show", "--raw", server.SharesFolder()); strings.Count(groups, "0/") != 1 {
		t.Errorf("quota groups left, besides the file system's own:\n%s", groups)
	}
}

// holdsHardStorage goes over the limit within one round of Reconcile.
func holdsHardStorage(t *testing.T, use servicetest.Use) {
	s := dialled(t, use.Bind(t, nil))
	megabyte := strings.Repeat("x", 1<<20)
	stored := 0
	for _, key := range strings.Split("abcdefgh", "") {
		err := s.Write(testContext(t), key, megabyte)
		if err == nil {
			stored++
		} else if !strings.Contains(err.Error(), "the disk was full") {
			t.Errorf("%d MB stored, then %v", stored, err)
		}
	}
	if stored < 2 || stored > 4 {
		t.Errorf("%d MB stored, of 4 MB allowed", stored)
	}
	for _, key := range []string{"a", "b"} {
		if err := s.share.Remove(key); err != nil {
			t.Errorf("delete from a full share: %v", err)
		}
	}
}

// The condition of a share at its hard limit, which a larger plan ends.
func TestHardNote(t *testing.T) {
	server, ctx := newHardServer(t, true), testContext(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Storage = 16 << 20; i.Plan.DeleteContents = true })
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "b", BindingParams{})).Values)
	big := strings.Repeat("x", 31<<19)
	s.mustWrite(t, "big", big)
	embeddedtest.Command(t, "btrfs", "filesystem", "sync", server.SharesFolder()) // which is when the kernel counts
	notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{inst})
	if err != nil || !strings.HasSuffix(notes["i"].Message, "of 16 MB used; writes that need more space are refused: delete files, or choose a larger plan") {
		t.Errorf("keep: %v, %v", notes, err)
	}
	if s.Write(ctx, "more", big) == nil {
		t.Error("wrote over the limit")
	}
	next := inst
	next.Plan.Storage = 0
	if err := servicetest.Once(b).Update(ctx, inst, next); err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, "more", big)
	if notes, err := servicetest.Once(b).Reconcile(ctx, nil, []instance{next}); err != nil || len(notes) > 0 {
		t.Errorf("keep, without a limit: %v, %v", notes, err)
	}
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), next) }); err != nil {
		t.Error(err)
	}
	nothingLeft(t, server, inst)
}

// On btrfs without quota groups, nothing is made, because it would have no limit.
func TestHardWithoutQuotas(t *testing.T) {
	server := newHardServer(t, false)
	b := server.backend(t, "c")
	expect(t, b.Ready(testContext(t)), "btrfs quota enable")
	inst := newInstance("i", func(i *instance) { i.Plan.Storage = 16 << 20; i.Plan.DeleteContents = true })
	expect(t, servicetest.Once(b).Provision(testContext(t), inst), "set the limit of a quota group")
	if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), inst) }); err != nil {
		t.Error(err)
	}
	nothingLeft(t, server, inst)
}

// On a full disk every verb works or says so, and leaves nothing once there is room again.
func TestFullDisk(t *testing.T) {
	mounted, ctx := embeddedtest.Ext4(t, "64M", "-m", "0", "-I", "128"), testContext(t)
	server := &testServer{embeddedtest.Samba(t, mounted)}
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	s := dialled(t, bound(t, b, inst, newBinding(t, inst, "filler", BindingParams{})).Values)
	size := 8 << 20
	for i := 0; size > 0; i++ {
		if s.Write(ctx, fmt.Sprint("fill", i), strings.Repeat("x", size)) != nil {
			size /= 4
		}
	}
	late, other := newBinding(t, inst, "late", BindingParams{}), newInstance("other", func(i *instance) { i.Plan.DeleteContents = true })
	_, bindErr := servicetest.Once(b).Bind(ctx, inst, late)
	provisionErr := servicetest.Once(b).Provision(ctx, other)
	t.Logf("on a full disk: bind: %v; provision: %v", bindErr, provisionErr)
	if provisionErr == nil {
		t.Error("provision did not notice the full disk")
	}
	for name, err := range map[string]error{"bind": bindErr, "provision": provisionErr} {
		if message, refused := services.IsRejected(err); refused {
			t.Errorf("%s: reported as the user's error: %s", name, message)
		}
	}
	for i := range 3 {
		if err := s.share.Remove(fmt.Sprint("fill", i)); err != nil {
			t.Fatal(err)
		}
	}
	dialled(t, bound(t, b, inst, late).Values).mustWrite(t, "key", "value")
	if err := servicetest.Once(b).Provision(ctx, other); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []instance{inst, other} {
		if err := finished(t, func() error { return servicetest.Once(b).Deprovision(testContext(t), gone) }); err != nil {
			t.Fatal(err)
		}
		nothingLeft(t, server, gone, late)
	}
}

// If the accounts' disk is full, a verb that needs a new account says so, and no file is half
// written.
func TestFullAccounts(t *testing.T) {
	dir := embeddedtest.Ext4(t, "8M")
	b := &backend{names: newNamer("c")}
	b.accounts = accounts{dir: dir, first: 5000, last: 9000, names: b.names}
	if _, err := b.ownAccount(testContext(t), services.InstanceName("before")); err != nil {
		t.Fatal(err)
	}
	before := readLines(t, filepath.Join(dir, passwdFile))
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<10); err == nil; {
		_, err = filler.Write(block)
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = b.ownAccount(testContext(t), services.InstanceName("after"))
	expect(t, err, "no space left on device")
	if after := readLines(t, filepath.Join(dir, passwdFile)); strings.Join(after, "\n") != strings.Join(before, "\n") {
		t.Errorf("the accounts have changed: %q, were %q", after, before)
	}
	if err := os.Remove(filler.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ownAccount(testContext(t), services.InstanceName("after")); err != nil {
		t.Error(err)
	}
}
