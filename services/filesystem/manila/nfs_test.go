package manila

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func overNFS(i *instance) { i.Plan.Protocol, i.Plan.ShareType = NFS, typeDummy }

func admitted(t *testing.T, inst instance, id, address string, role access.Role) binding {
	t.Helper()
	bd := newBinding(t, inst, id, role)
	bd.Params.Address = address
	return bd
}

// admits fails t unless the share's rules are these.
func admits(t *testing.T, b *backend, inst instance, want ...string) {
	t.Helper()
	var got []string
	for _, r := range rulesOf(t, b, inst) {
		got = append(got, r.AccessTo+" "+r.AccessLevel)
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// NFS over Manila's API, with a driver that exports nothing: every verb once and again, and what
// bindings with the same address share.
func TestNFS(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	b := cloud.backend(t, "mtest")
	verbs, ctx := servicetest.Patient(b), testContext(t)
	inst := provisioned(t, b, overNFS)
	one := admitted(t, inst, "1", "10.0.3.17", access.ReadWrite)
	first := bound(t, b, inst, one)
	if diff := cmp.Diff(first, bound(t, b, inst, one)); diff != "" {
		t.Errorf("the repeated bind returned other credentials:\n%s", diff)
	}
	checkNFS(t, first)
	same := admitted(t, inst, "2", "10.0.3.17/32", access.ReadWrite)
	bound(t, b, inst, same)
	net := admitted(t, inst, "3", "10.0.4.0/24", access.ReadOnly)
	bound(t, b, inst, net)
	admits(t, b, inst, "10.0.3.17 rw", "10.0.4.0/24 ro")

	_, err := verbs.Bind(ctx, inst, admitted(t, inst, "4", "10.0.3.17", access.ReadOnly))
	checkRejected(t, err, "another binding of this instance has given 10.0.3.17 the role read_write")
	_, err = verbs.Bind(ctx, inst, newBinding(t, inst, "5", access.ReadOnly))
	checkRejected(t, err, "parameters.address: is missing")

	listedBindings(t, b, inst, one, same, net)
	for range 2 {
		if err := verbs.Unbind(ctx, inst, one); err != nil {
			t.Fatal(err)
		}
	}
	admits(t, b, inst, "10.0.3.17 rw", "10.0.4.0/24 ro") // the other binding has the same address
	listedBindings(t, b, inst, same, net)
	same.Params.Address = "10.0.4.0/24" // an attempt with other parameters
	same.Params.Role = access.ReadOnly
	bound(t, b, inst, same)
	admits(t, b, inst, "10.0.4.0/24 ro")
	for _, bd := range []binding{same, net} {
		if err := verbs.Unbind(ctx, inst, bd); err != nil {
			t.Fatal(err)
		}
	}
	admits(t, b, inst)
	bound(t, b, inst, one) // stays: deprovision has to remove it
	deprovisioned(t, cloud, b, inst)
}

func checkNFS(t *testing.T, c services.Credentials) {
	t.Helper()
	host, path := c.Values["host"].(string), c.Values["path"].(string)
	want := map[string]any{
		"type": "nfs", "provider": "chandler", "host": host, "port": 2049., "path": path, "address": "10.0.3.17", "read_only": false,
		"uri": "nfs://" + host + path, "mount": map[string]any{"kernel": "mount -t nfs " + host + ":" + path + " /mnt"},
		"kubernetes": map[string]any{
			"driver": "nfs.csi.k8s.io", "volume_handle": c.Values["kubernetes"].(map[string]any)["volume_handle"],
			"volume_attributes": map[string]any{"server": host, "share": path},
			"access_modes":      []any{"ReadWriteMany"}, "mount_options": []any{}, "read_only": false,
		},
	}
	if diff := cmp.Diff(want, c.Values); diff != "" {
		t.Errorf("credentials (-want +got):\n%s", diff)
	}
}

func listedBindings(t *testing.T, b *backend, inst instance, bindings ...binding) {
	t.Helper()
	list, err := b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, r := range list {
		if r.Instance == inst.Name && r.Binding != "" {
			got = append(got, r.Binding)
		}
	}
	for _, bd := range bindings {
		want = append(want, bd.Name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed bindings (-want +got):\n%s", diff)
	}
}
