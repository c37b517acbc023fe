package operator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
)

// site is a broker with an operator.
type site struct {
	*testing.T
	*brokertest.Harness
	operator *operator.Operator
}

func newSite(t *testing.T) site {
	t.Helper()
	t.Parallel()
	h := brokertest.New(t, brokertest.Options{DatabaseURL: brokertest.Database(t)})
	return site{t, h, &operator.Operator{Catalog: h.Catalog, Store: h.Store, Engine: h.Engine, Drivers: h.Drivers, Credentials: h.Memory}}
}

// make makes an instance with data and a binding, whose credentials it returns.
func (s site) make(id string) json.RawMessage {
	s.Helper()
	_, err := s.Provision(brokertest.CallerContext(), id, domain.ProvisionDetails{
		ServiceID: brokertest.Service, PlanID: brokertest.BackedUp, OrganizationGUID: "org", SpaceGUID: "space",
	}, true)
	if err != nil {
		s.Fatal(err)
	}
	for n := range 10 {
		s.Backend.Write(id, fmt.Sprint("key ", n), "value of "+id)
	}
	return s.bind(id, id+"-b")
}

func (s site) bind(instance, id string) json.RawMessage {
	s.Helper()
	made, err := s.Bind(brokertest.CallerContext(), instance, id, domain.BindDetails{ServiceID: brokertest.Service, PlanID: brokertest.BackedUp}, true)
	if err != nil {
		s.Fatal(err)
	}
	text, err := json.Marshal(made.Credentials)
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// backUp makes a backup as the operator.
func (s site) backUp(id string) operator.Backup {
	s.Helper()
	b, err := s.operator.CreateBackup(s.Context(), operator.User("admin"), id)
	if err != nil {
		s.Fatal(err)
	}
	made, err := s.operator.AwaitBackup(s.Context(), b.ID, store.CopyBackup)
	if err != nil || made.State != store.BackupReady {
		s.Fatalf("%v: %+v", err, made)
	}
	return made
}

// recover recovers, and returns the results by the instances.
func (s site) recover(ctx context.Context, r operator.Recovery) map[string]operator.RecoveredInstance {
	s.Helper()
	r.Server = "memory"
	results := map[string]operator.RecoveredInstance{}
	err := s.operator.Recover(ctx, operator.User("admin"), r, func(one operator.RecoveredInstance) { results[one.InstanceID] = one })
	if err != nil && ctx.Err() == nil {
		s.Fatal(err)
	}
	return results
}

func outcomes(results map[string]operator.RecoveredInstance) string {
	var words []string
	for _, id := range slices.Sorted(maps.Keys(results)) {
		words = append(words, id+" "+string(results[id].Outcome))
	}
	return strings.Join(words, ", ")
}

// What a server has lost comes back from the latest backups, with the same credentials.
func TestRecover(t *testing.T) {
	s := newSite(t)
	first, second := s.make("i"), s.make("j")
	more := s.bind("i", "i-c")
	data := s.Backend.Data("i")
	s.make("bare")
	s.backUp("i")
	s.Backend.Write("i", "key 1", "changed")
	latest := s.backUp("i")
	s.backUp("j")
	s.Backend.Lose()

	plan := s.recover(t.Context(), operator.Recovery{DryRun: true})
	if got := outcomes(plan); got != "bare failed, i pending, j pending" || plan["i"].BackupID != latest.ID {
		t.Errorf("dry run: %s, %+v", got, plan)
	}
	if instances, _ := s.Backend.Size(); instances > 0 {
		t.Fatal("a dry run made instances")
	}
	results := s.recover(t.Context(), operator.Recovery{})
	if got := outcomes(results); got != "bare failed, i recovered, j recovered" {
		t.Fatalf("%s: %+v", got, results)
	}
	if r := results["i"]; r.Bindings != 2 || len(r.Changed)+len(r.Refused) > 0 || r.BackupID != latest.ID || !r.BackedUpAt.Equal(latest.CreatedAt) {
		t.Errorf("%+v", r)
	}
	if !strings.Contains(results["bare"].Reason, "--empty") {
		t.Errorf("reason: %s", results["bare"].Reason)
	}
	data["key 1"] = "changed"
	if diff := cmp.Diff(data, s.Backend.Data("i")); diff != "" {
		t.Errorf("recovered (-want +got):\n%s", diff)
	}
	for _, c := range []json.RawMessage{first, more, second} {
		if !s.Backend.Works(c) {
			t.Error("credentials do not work any more")
		}
	}
	again := s.recover(t.Context(), operator.Recovery{Empty: true})
	if got := outcomes(again); got != "bare recovered, i unchanged, j unchanged" || again["bare"].BackupID != "" {
		t.Errorf("again: %s", got)
	}
	s.Backend.Write("i", "key 1", "newest")
	if got := outcomes(s.recover(t.Context(), operator.Recovery{Overwrite: true, Before: latest.CreatedAt, Filter: operator.Filter{Instance: "i"}})); got != "i recovered" {
		t.Errorf("overwritten: %s", got)
	}
	if value := s.Backend.Data("i")["key 1"]; value != "value of i" {
		t.Errorf("overwritten with the earlier backup: %q", value)
	}
	audit, err := s.operator.Audit(t.Context(), operator.AuditFilter{Instance: "i", Action: string(store.Recover)})
	if err != nil || len(audit) != 4 || !strings.Contains(string(audit[0].Originating), "admin") {
		t.Errorf("audit: %v, %+v", err, audit)
	}
	if _, err := s.Deprovision(brokertest.CallerContext(), "i", true); err == nil {
		t.Error("an instance with bindings was deleted")
	}
}

// A recovery succeeds although the backend, the store or the caller fails half-way. Nobody uses an
// instance before it is restored.
func TestRecoverInterrupted(t *testing.T) {
	s := newSite(t)
	credentials, data := s.make("i"), s.Backend.Data("i")
	s.backUp("i")
	s.Backend.Lose()
	var calls sync.Map // of *atomic.Int32, by verb
	s.Backend.BeforeCall(func(_ context.Context, verb, _ string) error {
		n, _ := calls.LoadOrStore(verb, new(atomic.Int32))
		if n.(*atomic.Int32).Add(1) == 1 {
			return errors.New("interrupted")
		}
		return nil
	})
	gate := brokertest.NewGate()
	s.Archive.OnCall(func(call string) error {
		if call == "read" {
			return gate.Pass(context.Background())
		}
		return nil
	})
	limited, stop := context.WithCancel(t.Context())
	go func() {
		gate.AwaitCall(t)
		stop()
	}()
	if got := outcomes(s.recover(limited, operator.Recovery{})); got != "i pending" {
		t.Errorf("a caller that gave up: %s", got)
	}
	_, err := s.Bind(brokertest.CallerContext(), "i", "early", domain.BindDetails{ServiceID: brokertest.Service, PlanID: brokertest.BackedUp}, true)
	if e := broker.AsError(err); err == nil || e.Kind != broker.Concurrency {
		t.Errorf("a bind meanwhile: %v", err)
	}
	if poll, err := s.Poll(brokertest.CallerContext(), "i", "", ""); err != nil || poll.State != store.Succeeded {
		t.Errorf("a platform that polls the instance: %+v, %v", poll, err)
	}
	gate.Open()
	results := s.recover(t.Context(), operator.Recovery{})
	if got := outcomes(results); got != "i recovered" || results["i"].Bindings != 1 {
		t.Fatalf("%s: %+v", got, results)
	}
	if diff := cmp.Diff(data, s.Backend.Data("i")); diff != "" || !s.Backend.Works(credentials) {
		t.Errorf("recovered (-want +got):\n%s", diff)
	}
}

// A damaged backup leaves an instance as lost as it was, so that another one can be tried.
func TestRecoverDamaged(t *testing.T) {
	s := newSite(t)
	s.make("i")
	b := s.backUp("i")
	s.Backend.Lose()
	s.Archive.Damage()
	results := s.recover(t.Context(), operator.Recovery{})
	if got := outcomes(results); got != "i failed" || !strings.Contains(results["i"].Reason, "damaged") {
		t.Fatalf("%s: %+v", got, results)
	}
	if instances, _ := s.Backend.Size(); instances > 0 {
		t.Error("half of an instance is left")
	}
	if _, err := s.operator.Retry(t.Context(), operator.User("admin"), results["i"].OperationID); err == nil || !strings.Contains(err.Error(), "backups restore") {
		t.Errorf("retry: %v", err)
	}
	s.Archive.Damage() // back
	if got := outcomes(s.recover(t.Context(), operator.Recovery{})); got != "i recovered" {
		t.Error(got)
	}
	if b, err := s.operator.Backup(t.Context(), b.Name()); err != nil || len(b.Work) != 4 { // made, verified, and restored twice
		t.Errorf("%v: %+v", err, b.Work)
	}
}

// An instance that its platform deletes meanwhile is gone, and so is what was restored of it.
func TestRecoverDeleted(t *testing.T) {
	s := newSite(t)
	s.make("i")
	s.backUp("i")
	if _, err := s.Unbind(brokertest.CallerContext(), "i", "i-b", true); err != nil {
		t.Fatal(err)
	}
	s.Backend.Lose()
	gate := brokertest.NewGate()
	s.Backend.BeforeCall(func(ctx context.Context, verb, _ string) error {
		if verb == "restore" {
			return gate.Pass(ctx)
		}
		return nil
	})
	limited, stop := context.WithCancel(t.Context())
	go func() {
		gate.AwaitCall(t)
		stop()
	}()
	s.recover(limited, operator.Recovery{})
	if _, err := s.Deprovision(brokertest.CallerContext(), "i", true); err != nil {
		t.Fatal(err)
	}
	if instances, _ := s.Backend.Size(); instances > 0 {
		t.Error("the deleted instance is still there")
	}
	if left := s.recover(t.Context(), operator.Recovery{}); len(left) > 0 {
		t.Errorf("%+v", left)
	}
}

// A backup is restored into an instance that its user has just created; not into one with data, and
// not into somebody else's, unless the operator says so.
func TestRestoreBackup(t *testing.T) {
	s := newSite(t)
	s.make("i")
	data := s.Backend.Data("i")
	b := s.backUp("i")
	if _, err := s.Provision(brokertest.CallerContext(), "new", domain.ProvisionDetails{
		ServiceID: brokertest.Service, PlanID: brokertest.BackedUpTwin, OrganizationGUID: "org", SpaceGUID: "another",
	}, true); err != nil {
		t.Fatal(err)
	}
	restore := operator.BackupRestore{Backup: b.Name(), InstanceID: "new"}
	if _, err := s.operator.RestoreBackup(t.Context(), operator.User("admin"), restore); err == nil || !strings.Contains(err.Error(), "--other-tenant") {
		t.Errorf("into another space: %v", err)
	}
	restore.OtherTenant = true
	if r, err := s.operator.RestoreBackup(t.Context(), operator.User("admin"), restore); err != nil || r.Outcome != operator.InstanceRecovered {
		t.Fatalf("%v: %+v", err, r)
	}
	if diff := cmp.Diff(data, s.Backend.Data("new")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
	restore = operator.BackupRestore{Backup: b.ID, InstanceID: "i"}
	if _, err := s.operator.RestoreBackup(t.Context(), operator.User("admin"), restore); err == nil || !strings.Contains(err.Error(), "--overwrite") {
		t.Errorf("into an instance with data: %v", err)
	}
	restore.Overwrite = true
	if r, err := s.operator.RestoreBackup(t.Context(), operator.User("admin"), restore); err != nil || r.Outcome != operator.InstanceRecovered || r.Bindings != 1 {
		t.Errorf("%v: %+v", err, r)
	}
	restore.Backup = "none"
	var missing *operator.NotFoundError
	if _, err := s.operator.RestoreBackup(t.Context(), operator.User("admin"), restore); !errors.As(err, &missing) {
		t.Errorf("an unknown backup: %v", err)
	}
}

// What a slow verification and a deletion do to a backup.
func TestVerifyAndDeleteBackup(t *testing.T) {
	s := newSite(t)
	s.make("i")
	b := s.backUp("i")
	if err := s.operator.VerifyBackup(t.Context(), operator.User("admin"), b.Name()); err != nil {
		t.Fatal(err)
	}
	verified, err := s.operator.AwaitBackup(t.Context(), b.ID, store.CopyVerify)
	if err != nil || verified.VerifiedAt == nil || verified.VerifyError != "" {
		t.Errorf("%v: %+v", err, verified)
	}
	if err := s.operator.DeleteBackup(t.Context(), operator.User("admin"), b.ID); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := s.operator.Backup(t.Context(), b.ID); err != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the backup is not deleted")
		}
	}
	if objects, manifests := s.Archive.Objects(); len(objects)+len(manifests) > 0 {
		t.Errorf("left: %v, %v", objects, manifests)
	}
	if err := s.operator.VerifyBackup(t.Context(), operator.User("admin"), b.ID); err == nil {
		t.Error("a deleted backup is verified")
	}
	if _, err := s.operator.CreateBackup(t.Context(), operator.User("admin"), "none"); err == nil {
		t.Error("an instance that does not exist is backed up")
	}
}
