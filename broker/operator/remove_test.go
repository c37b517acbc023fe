package operator

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

// removals is a backend that holds nothing and notes what it is told to remove.
type removals struct {
	removed []string
	during  func()
}

func (r *removals) driver() *services.Driver {
	return &services.Driver{Deprovision: func(_ context.Context, d services.RawDeprovision) (services.DeprovisionResult, error) {
		r.during()
		r.removed = append(r.removed, d.Instance.Name)
		return services.DeprovisionResult{}, nil
	}}
}

// What was an orphan when it was listed may have an owner when it is removed.
func TestRemoveOrphans(t *testing.T) {
	url := embeddedtest.Database(t)
	backend := &removals{}
	a := newOperator(t, url, backend.driver())
	insert := func(ctx context.Context, db store.DBTX, id string) error {
		plan := a.Catalog.Services()[0].Plans[0]
		_, err := a.Store.InsertInstance(ctx, db, store.InsertInstanceParams{
			ID: id, SafeName: services.InstanceName(id), Platform: "cf", ServiceID: a.Catalog.Services()[0].ID, PlanID: plan.ID, Context: []byte("{}"), Parameters: []byte("{}"),
		})
		return err
	}
	if err := insert(t.Context(), a.Store.Pool, "used-again"); err != nil {
		t.Fatal(err)
	}
	var meanwhile, other error
	backend.during = func() {
		other = insert(t.Context(), a.Store.Pool, "another")
		meanwhile = a.Store.InTx(t.Context(), func(tx *store.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL lock_timeout = '100ms'"); err != nil {
				return err
			}
			return insert(t.Context(), tx, "lost")
		})
	}
	err := a.RemoveOrphans(t.Context(), User("admin"), []Difference{
		{Backend: "postgres", Kind: Orphan, Resource: "owned", Listing: services.Resource{Instance: services.InstanceName("used-again"), Name: "owned"}},
		{Backend: "postgres", Kind: Orphan, Resource: "lost", Listing: services.Resource{Instance: services.InstanceName("lost"), Name: "lost"}},
		{Backend: "postgres", Kind: Missing, InstanceID: "used-again"},
	})
	if err == nil || !strings.Contains(err.Error(), "owned") || !strings.Contains(err.Error(), "has an owner by now") {
		t.Errorf("got %v, want an error that owned resources stay", err)
	}
	if diff := cmp.Diff([]string{services.InstanceName("lost")}, backend.removed); diff != "" {
		t.Errorf("removed: -want +got\n%s", diff)
	}
	if other != nil {
		t.Errorf("another instance could not be created meanwhile: %v", other)
	}
	if meanwhile == nil || !strings.Contains(meanwhile.Error(), "lock timeout") {
		t.Errorf("an instance could be made of what is being removed: %v", meanwhile)
	}
}

// A cascade deprovision deletes bindings before their instance; an operator who
// removes an orphan meanwhile must not wait for it, nor it for the operator.
func TestRemoveOrphanBesideDeprovision(t *testing.T) {
	backend := &removals{during: func() {}}
	a := newOperator(t, embeddedtest.Database(t), backend.driver())
	err := a.Store.InTx(t.Context(), func(tx *store.Tx) error {
		if err := a.Store.DeleteBindingsOfInstance(t.Context(), tx, "i"); err != nil {
			return err
		}
		removed := make(chan error, 1)
		go func() {
			removed <- a.RemoveOrphans(t.Context(), User("admin"), []Difference{
				{Backend: "postgres", Kind: Orphan, Resource: "lost", Listing: services.Resource{Instance: services.InstanceName("lost"), Name: "lost"}},
			})
		}()
		select {
		case err := <-removed:
			return errors.Join(err, a.Store.DeleteInstance(t.Context(), tx, "i"))
		case <-time.After(10 * time.Second):
			return errors.New("the removal waits for the deprovision")
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// Two backends of the catalog on one server list each other's resources.
func TestOwnedByAnotherBackend(t *testing.T) {
	known := map[string]inventory{
		"small": {},
		"large": {"ia": {instanceID: "instance-a"}, "ba": {instanceID: "instance-a", bindingID: "binding-a"}},
	}
	for _, c := range []struct {
		name  string
		found services.Resource
		want  bool
	}{
		{"instance", services.Resource{Instance: "ia"}, true},
		{"binding", services.Resource{Instance: "ia", Binding: "ba"}, true},
		{"nobody's instance", services.Resource{Instance: "ix"}, false},
		{"nobody's binding of an instance", services.Resource{Instance: "ia", Binding: "bx"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := owned(known, c.found); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

// newOperator works on what the shipped catalog has of PostgreSQL, a state
// and one backend.
func newOperator(t *testing.T, url string, backend *services.Driver) *Operator {
	t.Helper()
	text, err := all.Catalog("database/postgres")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("catalog.yml", text, all.Definitions(), func(name string) (string, bool) {
		return url, !strings.HasPrefix(name, catalog.BackupVariables)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(t.Context(), url, 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return &Operator{Catalog: c, Store: s, Drivers: map[string]*services.Driver{"postgres": backend}}
}
