package powerdns

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The server keeps its data in LMDB where its user cannot pass to the folder,
// and has there its own notion of a deleted key.
func TestServerInHiddenFolder(t *testing.T) {
	server := &testServer{embeddedtest.PowerDNSOn(t, t.TempDir())}
	b, ctx := server.backend(t), testContext(t)
	settings, err := b.settings(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("launch=%s", settings["launch"])
	inst := provisioned(t, b, "i", nil)
	bd := newBinding(t, inst, "b", BindingParams{})
	zone := services.Resource{Instance: inst.Name, Name: inst.Name + "." + parent}
	key := services.Resource{Instance: inst.Name, Binding: bd.Name, Name: bd.Name + "." + inst.Name + ".suite"}
	if name := b.ResourceName(inst); name != zone.Name {
		t.Errorf("the zone is called %q, and listed as %q", name, zone.Name)
	}
	for range 2 { // under the same name again
		c, err := servicetest.Once(b).Bind(ctx, inst, bd)
		if err != nil {
			t.Fatal(err)
		}
		session := dialled(t, c.Values)
		expectFound(t, b, zone, key)
		if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
			t.Fatal(err)
		}
		if session.Ping(ctx) == nil {
			t.Error("the key outlived its binding")
		}
		expectFound(t, b, zone)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	expectFound(t, b)
}

func expectFound(t *testing.T, b *backend, want ...services.Resource) {
	t.Helper()
	got, err := b.List(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}
