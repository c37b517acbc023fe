package trove

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// lookup returns an instance's server with its details.
func lookup(t testing.TB, b *backend, inst instance) (place, server) {
	t.Helper()
	at, s, err := b.find(testContext(t), inst.Name)
	if err == nil {
		s, err = at.server(testContext(t), s.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return at, s
}

// waited waits until a server has nothing to do.
func waited(t testing.TB, at place, id string) server {
	t.Helper()
	for ; ; time.Sleep(poll / 2) {
		s, err := at.server(testContext(t), id)
		if err != nil {
			t.Fatal(err)
		}
		if s.works() || s.failed() {
			return s
		}
	}
}

// An update changes flavor and volume, and keeps the data and the bindings. Its undo keeps the
// larger volume, because volumes cannot shrink.
func TestResizes(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	_, credentials := bound(t, b, inst, "1")
	dialled(t, credentials).must(t, "CREATE TABLE t (n INT)", "INSERT INTO t VALUES (7)")
	larger := inst
	larger.Plan.Flavor, larger.Plan.Volume = "2", 2*services.Gigabyte // m1.small by its ID
	for _, update := range []struct {
		from, to instance
		flavor   string
	}{{inst, larger, "2"}, {larger, inst, "1"}} {
		for range 2 { // twice
			if err := servicetest.Patient(b).Update(ctx, update.from, update.to); err != nil {
				t.Fatal(err)
			}
		}
		if _, s := lookup(t, b, inst); s.Flavor.ID != update.flavor || s.Volume.Size != 2 {
			t.Errorf("flavor %s, %d GB", s.Flavor.ID, s.Volume.Size)
		}
		if n := dialled(t, credentials).ask(t, "SELECT n FROM t"); n != "7" {
			t.Errorf("the data: %s", n)
		}
	}
	for name, smaller := range map[string]func(*Plan){
		"volume":    func(p *Plan) { p.Volume = services.Gigabyte },
		"version":   func(p *Plan) { p.Version = "8.0" },
		"datastore": func(p *Plan) { p.Datastore = "mariadb" },
	} {
		next := larger
		smaller(&next.Plan)
		err := b.CheckUpdate(services.UpdateRequest[Plan, InstanceParams]{Previous: larger, Instance: next})
		if message, rejected := services.IsRejected(err); !rejected || !strings.Contains(message, name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// After a resize that failed, the server has its old size and works.
func TestFailedResize(t *testing.T) {
	t.Parallel()
	cloud, ctx := newCloud(t), testContext(t)
	b := cloud.backend(t, nil)
	inst := provisioned(t, b, nil)
	at, _ := lookup(t, b, inst)
	id := at.byHand(t, "made by hand_RESIZE_ERROR", inst.Plan)
	s := waited(t, at, id)
	asked := b.resize(ctx, at, s, flavorTarget("2"), map[string]any{"flavorRef": "2"})
	if !isPending(asked) {
		t.Fatalf("%v", asked)
	}
	s = waited(t, at, id)
	if s.Flavor.ID != "1" {
		t.Fatalf("the cloud did not fail: flavor %s, status %s", s.Flavor.ID, s.Status)
	}
	if s.failed() {
		t.Logf("status %s, %s", s.Status, faultOf(s))
		return
	}
	failed := b.resize(ctx, at, s, flavorTarget("2"), map[string]any{"flavorRef": "2"})
	if isPending(failed) || failed == nil || !strings.Contains(failed.Error(), "Trove says") {
		t.Errorf("%v", failed)
	}
	if again := b.resize(ctx, at, s, flavorTarget("2"), map[string]any{"flavorRef": "2"}); !isPending(again) {
		t.Errorf("the next attempt: %v", again)
	}
	waited(t, at, id)
}

// byHand makes a server as somebody would in Horizon.
func (at place) byHand(t testing.TB, name string, p Plan) (id string) {
	t.Helper()
	var answer struct{ Instance server }
	flavor, err := at.flavorOf(testContext(t), p)
	if err != nil {
		t.Fatal(err)
	}
	err = at.call(testContext(t), http.MethodPost, map[string]any{"instance": map[string]any{
		"name": name, "flavorRef": flavor, "volume": map[string]int{"size": p.gigabytes()},
		"datastore": map[string]string{"type": p.Datastore, "version": p.Version},
	}}, &answer, "instances")
	if err != nil {
		t.Fatal(err)
	}
	return answer.Instance.ID
}
