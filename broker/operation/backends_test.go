package operation_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
)

const backendOf = "select backend || ' ' || backend_type || ' ' || server from instances where id = $1"

// Each instance knows the backend that made it, whoever created its row.
func TestBackendsAreRecorded(t *testing.T) {
	t.Parallel()
	h := brokertest.New(t, brokertest.Options{DatabaseURL: brokertest.Database(t)})
	done(t, h, provision(t, h, "i", brokertest.Small, "{}"))
	if got := query[string](t, h, backendOf, "i"); got != "memory database/memory default" {
		t.Errorf("recorded %q", got)
	}
	// What a replica of the release before writes, which does not know the column.
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := h.Store.Pool.Exec(context.Background(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`insert into instances (id, platform, service_id, plan_id, organization_id, space_id, context, parameters, maintenance_version, status)
		values ('old', 'default', $1, $2, '', '', '{}', '{}', '', 'ready')`, brokertest.Service, brokertest.Pooled)
	eventually(t, "the older replica's instance has a backend", func() bool {
		return query[string](t, h, backendOf, "old") == "pool database/memory default"
	})
	// It creates an instance anew that failed, on another backend's plan.
	exec("update instances set status = 'create_failed' where id = 'i'")
	exec("update instances set plan_id = $1, server = 'default', status = 'creating' where id = 'i'", brokertest.Pooled)
	exec("update instances set server = 'one' where id = 'i'")
	eventually(t, "the instance that the older replica created anew has its new backend", func() bool {
		return query[string](t, h, backendOf, "i") == "pool database/memory one"
	})
}

// A replica whose catalog has the plan on another backend must not report that it
// revoked what it never made.
func TestAnotherBackendsInstanceIsLeftAlone(t *testing.T) {
	h := soon(t)
	done(t, h, provision(t, h, "i", brokertest.Short, "{}"))
	done(t, h, bind(t, h, "i", "b", brokertest.Short))
	secret := credentials(t, h, "i", "b")
	for _, made := range [][2]string{{"former", "database/memory"}, {"memory", "database/former"}} {
		if _, err := h.Store.Pool.Exec(t.Context(), "update instances set backend = $1, backend_type = $2 where id = 'i'", made[0], made[1]); err != nil {
			t.Fatal(err)
		}
		calls := len(h.Backend.Calls())
		op := h.AwaitOperation(t, unbind(t, h, "i", "b"))
		if op.State != store.Failed || !strings.Contains(op.LastError, "instance i: made by backend") {
			t.Errorf("unbind of an instance that %v made: %s, last error %q", made, op.State, op.LastError)
		}
		if len(h.Backend.Calls()) != calls || !h.Backend.Works(secret) {
			t.Errorf("backend was called for what %v made: %v", made, h.Backend.Calls()[calls:])
		}
	}
	if _, err := h.Store.Pool.Exec(t.Context(), "update instances set backend = 'memory', backend_type = 'database/memory' where id = 'i'"); err != nil {
		t.Fatal(err)
	}
	done(t, h, unbind(t, h, "i", "b"))
	if h.Backend.Works(secret) {
		t.Error("the credentials still work")
	}
}
