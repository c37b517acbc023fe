package openstack

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shareaccessrules"
	"github.com/gophercloud/gophercloud/v2/openstack/sharedfilesystems/v2/shares"
)

func sharesClient(t *testing.T, p *gophercloud.ProviderClient) *gophercloud.ServiceClient {
	t.Helper()
	client, err := openstack.NewSharedFileSystemV2(p, anywhere)
	if err != nil {
		t.Fatal(err)
	}
	client.Microversion = "2.63"
	return client
}

// until calls what until it returns true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !done(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("in vain: ", what)
		}
	}
}

// export is what a client needs to mount a share.
type export struct{ path, user, key string }

// makeShare makes a share with access for a user.
func makeShare(t *testing.T, client *gophercloud.ServiceClient, user string) export {
	t.Helper()
	share, err := shares.Create(t.Context(), client, shares.CreateOpts{ShareProto: "CEPHFS", Size: 1, ShareType: CephFS}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	until(t, "wait for the share", func() bool {
		share, err = shares.Get(t.Context(), client, share.ID).Extract()
		return err != nil || share.Status == "available" || share.Status == "error"
	})
	if err != nil || share.Status != "available" {
		t.Fatalf("the share is %s: %v", share.Status, err)
	}
	access := shares.GrantAccessOpts{AccessType: "cephx", AccessTo: user, AccessLevel: "rw"}
	right, err := shares.GrantAccess(t.Context(), client, share.ID, access).Extract()
	if err != nil {
		t.Fatal(err)
	}
	e := export{user: user}
	until(t, "wait for the key", func() bool {
		rule, err := shareaccessrules.Get(t.Context(), client, right.ID).Extract()
		if err != nil || rule.State == "error" {
			t.Fatal(rule, err)
		}
		e.key = rule.AccessKey
		return rule.State == "active" && e.key != ""
	})
	locations, err := shares.ListExportLocations(t.Context(), client, share.ID).Extract()
	if err != nil || len(locations) != 1 {
		t.Fatal(locations, err)
	}
	e.path = locations[0].Path[strings.Index(locations[0].Path, ":/")+1:]
	return e
}

// onShare calls what with the folder at which a share is mounted.
func onShare(t *testing.T, c *Cloud, e export, what func(folder string)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a share needs root: run this test as root")
	}
	folder, keyring := t.TempDir(), filepath.Join(t.TempDir(), "keyring")
	if err := os.WriteFile(keyring, []byte("[client."+e.user+"]\nkey = "+e.key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	until(t, "mount", func() bool { // a metadata server needs some seconds after a crash
		client := exec.CommandContext(ctx, filepath.Join(c.Programs(), "ceph-fuse"), "-c", "/dev/null", "-k", keyring, //nolint:gosec // the cloud's own
			"-m", "v1:"+c.Ceph.MonitorAddress(), "-n", "client."+e.user, "-r", e.path, "--admin_socket=", "--log_file=", "--pid_file=", folder)
		out, err := client.CombinedOutput()
		if err != nil {
			t.Logf("mount: %v: %s", err, out)
		}
		return err == nil
	})
	defer func() {
		if out, err := exec.CommandContext(context.WithoutCancel(ctx), "umount", folder).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v: %s", err, out)
		}
	}()
	what(folder)
}

// shareTenant has a file in a share, and perhaps more shares.
type shareTenant struct {
	first  export
	shares int
}

const word = "anchor"

func (s *shareTenant) begin(t *testing.T, c *Cloud, project string) {
	t.Helper()
	s.first = s.more(t, c, project)
	onShare(t, c, s.first, func(folder string) {
		if err := os.WriteFile(filepath.Join(folder, "word"), []byte(word), 0o600); err != nil {
			t.Fatal(err)
		}
	})
}

func (s *shareTenant) more(t *testing.T, c *Cloud, project string) export {
	t.Helper()
	s.shares++
	return makeShare(t, sharesClient(t, login(t, c, c.Identity.Broker(), project)), fmt.Sprintf("shop-%d", s.shares))
}

func (s *shareTenant) continues(t *testing.T, c *Cloud, project string) {
	t.Helper()
	onShare(t, c, s.first, func(folder string) {
		if got, err := os.ReadFile(filepath.Join(folder, "word")); err != nil || string(got) != word {
			t.Errorf("the file has %q, %v", got, err)
		}
	})
	s.more(t, c, project)
	holds(t, c.Shares, slices.Repeat([]string{"share "}, s.shares)...)
}
