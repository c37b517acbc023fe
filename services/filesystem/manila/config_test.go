package manila

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

func TestConfigFaults(t *testing.T) {
	whole := map[string]any{"auth_url": "https://cloud.example.com:5000/v3", "domain": "d", "username": "u", "password": "p"}
	for name, test := range map[string]struct {
		change map[string]any
		words  string
	}{
		"complete":            {nil, ""},
		"no version":          {map[string]any{"auth_url": "https://cloud.example.com:5000"}, "auth_url: "},
		"a prefix with a dot": {map[string]any{"prefix": "a.b"}, "prefix: "},
		"a cluster's name":    {map[string]any{"csi_cluster_id": "a b"}, "csi_cluster_id: "},
		"a file system":       {map[string]any{"ceph_file_system": "a/b"}, "ceph_file_system: "},
	} {
		t.Run(name, func(t *testing.T) { checkDecoded(t, services.Decode[Config], at(whole, test.change), test.words) })
	}
}

func TestPlanFaults(t *testing.T) {
	whole := map[string]any{"share_type": "cephfs", "storage": "1GB"}
	for name, test := range map[string]struct {
		change map[string]any
		words  string
	}{
		"complete":                   {nil, ""},
		"no type":                    {map[string]any{"share_type": ""}, "share_type: must be"},
		"no size":                    {map[string]any{"storage": nil}, "storage: must be"},
		"a size in MB":               {map[string]any{"storage": "1500MB"}, `storage: must be a whole number and GB or TB`},
		"a whole size in MB":         {map[string]any{"storage": "2048MB"}, ""},
		"too large":                  {map[string]any{"storage": "9999TB"}, "storage: must be"},
		"a smaller maximum":          {map[string]any{"storage": "2GB", "max_storage": "1GB"}, "max_storage: must be"},
		"another protocol":           {map[string]any{"protocol": "smb"}, "protocol: must be one of cephfs, nfs"},
		"no bindings":                {map[string]any{"bindings": 0}, "bindings: must be from 1 to 1000"},
		"networks of a CephFS share": {map[string]any{"networks": []string{"10.0.0.0/8"}}, "networks: "},
		"networks":                   {map[string]any{"protocol": "nfs", "networks": []string{"10.0.0.0/8", "fd00::/8"}}, ""},
		"a network with bits":        {map[string]any{"protocol": "nfs", "networks": []string{"10.1.0.0/8"}}, "networks: 10.1.0.0/8 has bits behind its prefix: write 10.0.0.0/8 for the network"},
		"a network in words":         {map[string]any{"protocol": "nfs", "networks": []string{"all"}}, "networks: must be an address"},
	} {
		t.Run(name, func(t *testing.T) { checkDecoded(t, services.Decode[Plan], at(whole, test.change), test.words) })
	}
}

func checkDecoded[T any](t *testing.T, decode func(json.RawMessage) (T, error), value any, words string) {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	_, err = decode(raw)
	if (err == nil) != (words == "") || err != nil && !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func TestAddresses(t *testing.T) {
	nfs, inside := Plan{Protocol: NFS}, Plan{Protocol: NFS}
	if err := json.Unmarshal([]byte(`{"networks": ["10.0.0.0/8", "fd00::/8"]}`), &inside); err != nil {
		t.Fatal(err)
	}
	everyone := Plan{Protocol: NFS}
	if err := json.Unmarshal([]byte(`{"networks": ["0.0.0.0/0"]}`), &everyone); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		plan          Plan
		address, want string // of the error
	}{
		{nfs, "10.0.3.17", ""},
		{nfs, "10.0.3.0/24", ""},
		{nfs, "10.0.0.0/16", ""},
		{nfs, "fd00::1", ""},
		{nfs, "fd00:1:2::/48", ""},
		{nfs, "", "parameters.address: is missing"},
		{nfs, "0.0.0.0/0", "networks of /16 and smaller"},
		{nfs, "0.0.0.0/1", "networks of /16 and smaller"},
		{nfs, "128.0.0.0/1", "networks of /16 and smaller"},
		{nfs, "::/0", "networks of /48 and smaller"},
		{nfs, "10.0.3.17/24", "write 10.0.3.0/24 for the network, or 10.0.3.17 for the address"},
		{nfs, "::ffff:10.0.0.1", "must be an address"},
		{nfs, "::ffff:0.0.0.0/96", "must be an address"},
		{nfs, "fe80::1%eth0", "must be an address"},
		{nfs, "10.0.3", "must be an address"},
		{nfs, "010.0.3.1", "must be an address"},
		{nfs, "*", "must be an address"},
		{inside, "10.0.3.17", ""},
		{inside, "10.0.0.0/8", ""},
		{inside, "fd12::/16", ""},
		{inside, "8.0.0.0/7", "must be in one of the plan's networks: 10.0.0.0/8, fd00::/8"},
		{inside, "0.0.0.0/0", "must be in one of the plan's networks"},
		{inside, "192.168.0.1", "must be in one of the plan's networks"},
		{everyone, "0.0.0.0/0", ""},
		{everyone, "::/0", "must be in one of the plan's networks"},
		{Plan{Protocol: CephFS}, "10.0.3.17", "are protected by a key, not by address"},
		{Plan{Protocol: CephFS}, "", ""},
	} {
		err := checkAddress(test.plan, test.address)
		if test.want == "" && err != nil {
			t.Errorf("%q: %v", test.address, err)
		} else if test.want != "" {
			checkRejected(t, err, test.want)
		}
	}
}

// Manila's places are not trusted: they become parts of commands.
func TestLocations(t *testing.T) {
	b := &backend{names: newNamer("c")}
	for _, test := range []struct{ location, want string }{
		{"10.0.0.1:6789,10.0.0.2:6789:/volumes/a/b", "10.0.0.1:6789,10.0.0.2:6789:/volumes/a/b"},
		{"[fd00::1]:6789:/volumes/a/b", "[fd00::1]:6789:/volumes/a/b"},
		{"10.0.0.1:/volumes/a", "10.0.0.1:/volumes/a"},
		{"10.0.0.1:6789", ""},
		{":/volumes/a", ""},
		{"", ""},
		{"10.0.0.1:6789:/volumes/$(reboot)", ""},
		{"10.0.0.1:6789:/volumes/a b", ""},
		{"a b:/volumes/a", ""},
		{"user@10.0.0.1:6789:/volumes/a", ""},
	} {
		c, err := b.credentials(CephFS, test.location, rule{}, binding{})
		if (err == nil) != (test.want != "") {
			t.Errorf("%q: %v", test.location, err)
		} else if err == nil {
			if kernel := c.Values["mount"].(map[string]any)["kernel"].(string); !strings.Contains(kernel, " "+test.want+" ") {
				t.Errorf("%q: %s", test.location, kernel)
			}
		}
	}
}
