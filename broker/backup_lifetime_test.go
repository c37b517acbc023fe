package broker_test

import (
	"context"
	"encoding/json"
	"math"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/store"
)

// The backups of an instance that the operator forgets are kept as long as those of a deleted one.
func TestForgottenBackups(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	o := operator.Operator{Catalog: c.Catalog, Store: c.Store, Engine: c.Engine, Credentials: c.Memory}
	if err := o.Forget(t.Context(), operator.User("root"), "i"); err != nil {
		t.Fatal(err)
	}
	backups, err := c.Store.ListBackups(t.Context(), c.Store.Pool, store.ListBackupsParams{Before: "~", InstanceID: "i", Batch: 10})
	if err != nil || len(backups) != 1 {
		t.Fatalf("%d backups, %v", len(backups), err)
	}
	if end := backups[0].ExpiresAt; end == nil || time.Until(*end) < 719*time.Hour || time.Until(*end) > 721*time.Hour {
		t.Errorf("the backup's end is %v, want one in 720 h", end)
	}
	c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "201")
}

// An instance with the ID of a deleted one has backups of its own.
func TestBackupsOfReusedID(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	c.deprovision("i", true).want(t, "200")
	c.provision("i", on(brokertest.BackedUp), true).want(t, "201")
	c.Backend.Write("i", "key", "of the second")
	c.update("i", backUp("one"), true).want(t, "200")
	c.provision("copy", from(brokertest.BackedUp, "i"), true).want(t, "201")
	if diff := cmp.Diff(map[string]string{"key": "of the second"}, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}
}

// An operation that waits for a copy has a day, unless the plan has a maximum_polling_duration.
func TestTimeOfCopies(t *testing.T) {
	c := newClient(t, brokertest.Options{})
	c.filled(t, "i", brokertest.BackedUp)
	c.update("i", backUp("one"), true).want(t, "200")
	c.update("i", domain.UpdateDetails{RawParameters: json.RawMessage(`{"colour": "red"}`)}, true).want(t, "200")
	operations, err := c.Store.ListOperations(t.Context(), c.Store.Pool, store.ListOperationsParams{Before: math.MaxInt64, InstanceID: "i", Batch: 10})
	if err != nil || len(operations) != 3 {
		t.Fatalf("%d operations, %v", len(operations), err)
	}
	for _, op := range operations {
		want := time.Hour
		if op.CopyID != "" {
			want = 24 * time.Hour
		}
		if got := op.Deadline.Sub(op.CreatedAt).Round(time.Minute); got != want {
			t.Errorf("%s, copy %q: %s, want %s", op.Kind, op.CopyID, got, want)
		}
	}
}

// The schedules of many instances whose plan gets one are recorded soon, not only a batch at a time.
func TestSchedulesOfManyInstances(t *testing.T) {
	c := newClient(t, brokertest.Options{NoWork: true})
	c.exec(t, `insert into instances (id, platform, service_id, plan_id, organization_id, space_id, namespace, context, parameters, maintenance_version, status, backend)
		select 'i' || n, 'cf', '`+brokertest.Service+`', '`+brokertest.BackedUp+`', 'o', 's', '', '{}', '{}', '', 'ready', 'memory' from generate_series(1, 450) n`)
	c.Work(t)
	eventually(t, "all schedules are recorded", func() bool {
		var n int
		err := c.Store.Pool.QueryRow(context.Background(), "select count(*) from backup_schedules where next_at > now()").Scan(&n)
		return err == nil && n == 450
	})
}
