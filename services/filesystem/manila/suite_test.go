package manila

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	cloud := newClientCloud(t)
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(),
		Counts:     func(call []byte) bool { return !bytes.HasPrefix(call, []byte("GET ")) },
		Address:    cloud.front,
		Config:     func(address string) json.RawMessage { return cloud.config(suitePrefix, address) },
		Apart:      func(address, name string) json.RawMessage { return cloud.config(suitePrefix+name, address) },
		Slow:       true,
		Secrets:    []string{cloud.broker.Password},
		Plan:       raw(`{"share_type": "cephfs", "storage": "1GB", "max_storage": "3GB", "bindings": 10}`),
		OtherPlan:  raw(`{"share_type": "cephfs", "storage": "2GB", "max_storage": "3GB"}`),
		Create:     []json.RawMessage{raw(`{}`), raw(`{"storage": "2GB"}`)},
		Update:     []json.RawMessage{raw(`{"storage": "3GB"}`)},
		Bind:       []json.RawMessage{raw(`{}`)},
		BindSame:   []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"a binding's parameter":    raw(`{"role": "read_only"}`),
				"more than the plan's":     raw(`{"storage": "4GB"}`),
				"not in whole gigabytes":   raw(`{"storage": "1500MB"}`),
				"a size that is a number":  raw(`{"storage": 2}`),
				"nothing":                  raw(`{"storage": "0GB"}`),
				"a negative size":          raw(`{"storage": "-1GB"}`),
				"more than an int64 holds": raw(`{"storage": "9999999TB"}`),
			},
			Update: map[string]json.RawMessage{"more than the plan's": raw(`{"storage": "4GB"}`)},
			Bind: map[string]json.RawMessage{
				"an unknown role":       raw(`{"role": "admin"}`),
				"an empty role":         raw(`{"role": ""}`),
				"an address in words":   raw(`{"address": "localhost"}`),
				"an address with bits":  raw(`{"address": "10.0.0.1/24"}`),
				"an address in an IPv6": raw(`{"address": "::ffff:10.0.0.1"}`),
			},
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Reach:    reach,
		Block: map[string]func(t *testing.T, mine map[string]any, theirs ...map[string]any){
			"many clients": manyClients,
		},
		Limits: []servicetest.Limit{
			{Name: "storage", Plan: raw(`{"share_type": "cephfs", "storage": "1GB"}`), Holds: holdsStorage},
			{Name: "bindings", Plan: raw(`{"share_type": "cephfs", "storage": "1GB", "bindings": 2}`), Holds: holdsBindings},
		},
		Fill: fill,
		Left: cloud.leftOf,
	})
}

func holdsBindings(t *testing.T, use servicetest.Use) {
	use.Bind(t, nil)
	use.Bind(t, nil)
}

// fill makes what a file system may contain.
func fill(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	open := func(t *testing.T, credentials map[string]any) string {
		s, err := dial(testContext(t), credentials)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s.(*session).mounted
	}
	const long = 3 << 20
	share := open(t, mine)
	for _, err := range []error{
		os.MkdirAll(filepath.Join(share, "a/b ü"), 0o750),
		os.WriteFile(filepath.Join(share, "a/b ü/file"), []byte("content"), 0o640),
		os.WriteFile(filepath.Join(share, "long"), bytes.Repeat([]byte("0123456789abcdef"), long/16), 0o600),
		os.Symlink("a/b ü/file", filepath.Join(share, "symlink")),
		os.Chown(filepath.Join(share, "long"), 1234, 5678),
		flush(filepath.Join(share, "long")), flush(filepath.Join(share, "symlink")), flush(share),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return func(t *testing.T, theirs map[string]any) {
		share := open(t, theirs)
		if got, err := os.ReadFile(filepath.Join(share, "symlink")); err != nil || string(got) != "content" {
			t.Errorf("link: %q, %v", got, err)
		}
		got, err := os.ReadFile(filepath.Join(share, "long"))
		if err != nil || len(got) != long || !bytes.HasSuffix(got, []byte("9abcdef")) {
			t.Errorf("long: %d bytes, %v", len(got), err)
		}
		info, err := os.Stat(filepath.Join(share, "long"))
		if err != nil || info.Mode() != 0o600 || info.Sys().(*syscall.Stat_t).Uid != 1234 || info.Sys().(*syscall.Stat_t).Gid != 5678 {
			t.Errorf("long: %v, %v", info, err)
		}
	}
}

func flush(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
