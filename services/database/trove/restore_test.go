package trove

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// A server restored from a backup has the users of an older time. Reconcile closes them, and Verify
// opens those whose bindings still exist.
func TestRestore(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	kept, keptCredentials := bound(t, b, inst, "kept")
	ended, endedCredentials := bound(t, b, inst, "ended")
	dialled(t, keptCredentials).must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (7)")
	at, old := lookup(t, b, inst)
	at.restoreByHand(t, old, func() { unbound(t, b, inst, ended) })

	_, s := lookup(t, b, inst)
	if s.ID == old.ID {
		t.Fatal("nothing was restored")
	}
	moved, err := b.reachable(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []map[string]any{keptCredentials.Values, endedCredentials.Values} {
		u := parsed(t, c["uri"].(string))
		u.Host = moved.Address()
		c["uri"] = u.String()
	}
	dialled(t, endedCredentials) // the backup brought it back
	found, err := b.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	for _, r := range found {
		if r.Binding == ended.Name || r.Binding == kept.Name {
			listed++
		}
	}
	if listed != 2 {
		t.Errorf("%d of the backup's users are listed", listed)
	}

	conditions, err := servicetest.Once(b).Reconcile(ctx, []Plan{inst.Plan}, []instance{inst})
	if err != nil || len(conditions) > 0 {
		t.Errorf("reconcile: %v %v", conditions, err)
	}
	refusedLogin(t, endedCredentials)
	refusedLogin(t, keptCredentials)
	if err := servicetest.Patient(b).Verify(ctx, inst, kept); err != nil {
		t.Fatal(err)
	}
	if n := dialled(t, keptCredentials).ask(t, "SELECT n FROM t"); n != "7" {
		t.Errorf("the data: %s", n)
	}
	refusedLogin(t, endedCredentials)
	// As "chandler orphans --remove" does.
	unbound(t, b, inst, ended)
	a := at.account(s, ended.Name)
	if _, exists, err := a.owner(ctx); exists || err != nil {
		t.Errorf("the ended binding's user stays: %v", err)
	}
	dialled(t, keptCredentials)
}

// restoreByHand replaces a server by one from a backup of it, as an operator does; between is
// called after the backup.
func (at place) restoreByHand(t *testing.T, old server, between func()) {
	t.Helper()
	ctx := testContext(t)
	var backup struct{ Backup struct{ ID, Status string } }
	request := map[string]any{"backup": map[string]string{"name": "by hand", "instance": old.ID}}
	if err := at.call(ctx, http.MethodPost, request, &backup, "backups"); err != nil {
		t.Fatal(err)
	}
	for id := backup.Backup.ID; backup.Backup.Status != "COMPLETED"; time.Sleep(poll) {
		if err := at.call(ctx, http.MethodGet, nil, &backup, "backups", id); err != nil {
			t.Fatal(err)
		}
	}
	waited(t, at, old.ID)
	between()
	if err := servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return at.deleteServer(ctx, old) }); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := at.server(ctx, old.ID); err != nil {
			break
		}
		time.Sleep(poll)
	}
	var restored struct{ Instance server }
	err := at.call(ctx, http.MethodPost, map[string]any{"instance": map[string]any{
		"name": old.Name, "flavorRef": old.Flavor.ID, "volume": map[string]int{"size": old.Volume.Size},
		"datastore":    map[string]string{"type": old.Datastore.Type, "version": old.Datastore.Version},
		"restorePoint": map[string]string{"backupRef": backup.Backup.ID},
	}}, &restored, "instances")
	if err != nil {
		t.Fatal(err)
	}
	waited(t, at, restored.Instance.ID)
}
