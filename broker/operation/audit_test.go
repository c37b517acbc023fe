package operation_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// Every change is on record: who asked, for what, and how it ended.
func TestAudit(t *testing.T) {
	h := soon(t)
	who := json.RawMessage(`{"platform":"cloudfoundry","value":{"user_id":"683ea748"}}`)
	ctx := broker.WithCaller(context.Background(), broker.Caller{Platform: "cf", RequestID: "r-1", Originating: who})
	parameters := json.RawMessage(`{"colour": "red"}`)
	spec, err := h.Provision(ctx, "i", domain.ProvisionDetails{ServiceID: brokertest.Service, PlanID: brokertest.Cascading, RawParameters: parameters}, true)
	done(t, h, begun(t, h, "i", "", spec.OperationData, err))
	updated, err := h.Update(ctx, "i", domain.UpdateDetails{ServiceID: brokertest.Service, PlanID: brokertest.Short, RawParameters: parameters}, true)
	done(t, h, begun(t, h, "i", "", updated.OperationData, err))
	h.Backend.BeforeCall(func(_ context.Context, verb, _ string) error {
		if verb == "bind" {
			return errors.New("away")
		}
		return nil
	})
	failed := bind(t, h, "i", "b", brokertest.Short)
	h.AwaitOperation(t, failed)
	gone, err := h.Unbind(ctx, "i", "b", true)
	done(t, h, begun(t, h, "i", "b", gone, err))
	removed, err := h.Deprovision(ctx, "i", true)
	done(t, h, begun(t, h, "i", "", removed, err))

	rows, err := h.Store.AuditOfInstance(context.Background(), h.Store.Pool, "i")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		got = append(got, fmt.Sprintf("%s %s %s, %s, on %s%s", r.Action, r.Event, r.Outcome, r.RequestID, r.PlanID, r.BindingID))
		if r.RequestID == "r-1" && !cmp.Equal(string(who), string(r.Originating)) {
			t.Errorf("%s: asked for by %s", r.Action, r.Originating)
		}
		if r.OperationID == "" || r.Platform != "cf" || r.At.IsZero() {
			t.Errorf("incomplete: %+v", r)
		}
	}
	want := []string{
		"provision accepted , r-1, on plan-cascade", "provision succeeded succeeded, r-1, on plan-cascade",
		"update accepted , r-1, on plan-short", "update succeeded succeeded, r-1, on plan-short",
		"bind accepted , request-cf, on plan-shortb", "bind failed timed_out, request-cf, on plan-shortb",
		"unbind accepted , r-1, on plan-shortb", "unbind succeeded succeeded, r-1, on plan-shortb",
		"deprovision accepted , r-1, on plan-short", "deprovision succeeded succeeded, r-1, on plan-short",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is not committed was never accepted.
func TestAcceptIsAtomic(t *testing.T) {
	h := soon(t)
	rollback := errors.New("roll back")
	err := h.Store.InTx(context.Background(), func(tx *store.Tx) error {
		_, err := h.Engine.Accept(context.Background(), tx, store.Instance{
			ID: "i", Platform: "cf", ServiceID: brokertest.Service, PlanID: brokertest.Small, Server: catalog.DefaultServer,
		}, operation.Request{Kind: store.Provision})
		if err != nil {
			t.Error(err)
		}
		return rollback
	})
	if !errors.Is(err, rollback) {
		t.Fatal(err)
	}
	if n := query[int](t, h, "select (select count(*) from operations) + (select count(*) from audit) + (select count(*) from river_job where kind = 'operation')"); n != 0 {
		t.Errorf("%d rows of what was not accepted", n)
	}
}

// The record ends after its retention time, however much of it there is, and no
// sooner.
func TestAuditIsPruned(t *testing.T) {
	t.Parallel()
	o := brokertest.Options{DatabaseURL: brokertest.Database(t), NoWork: true, AuditRetention: 400 * 24 * time.Hour}
	h := brokertest.New(t, o)
	if _, err := h.Store.Pool.Exec(t.Context(), `insert into audit (at, platform, request_id, action, event, instance_id)
		select now() - n * interval '1 day', 'cf', '', 'bind', 'accepted', 'i' from generate_series(390, 2500) n`); err != nil {
		t.Fatal(err)
	}
	h.Work(t)
	eventually(t, "what is older than 400 days is deleted", func() bool {
		return query[int](t, h, "select count(*) from audit where at < now() - interval '400 days'") == 0
	})
	if n := query[int](t, h, "select count(*) from audit"); n != 10 {
		t.Errorf("%d entries are left of the last 400 days, want 10", n)
	}
}
