package operation_test

import (
	"context"
	"encoding/json"
	"flag"
	"testing"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) {
	// Tests wait more than they work.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err)
	}
	embeddedtest.Main(m)
}

// replicas makes n brokers on one database, one backend and one credential
// store.
func replicas(t *testing.T, n int, o brokertest.Options) []*brokertest.Harness {
	t.Helper()
	if o.DatabaseURL == "" {
		o.DatabaseURL = brokertest.Database(t)
	}
	var hs []*brokertest.Harness
	for range n {
		h := brokertest.New(t, o)
		o.Backend, o.Credentials = h.Backend, h.Memory
		hs = append(hs, h)
	}
	return hs
}

// soon makes a broker that answers 202 to everything.
func soon(t *testing.T) *brokertest.Harness {
	t.Helper()
	t.Parallel()
	return replicas(t, 1, brokertest.Options{AsyncWait: time.Nanosecond})[0]
}

// The requests below fail the test where they are refused, and return the
// operation that they began.

func provision(t *testing.T, h *brokertest.Harness, id, plan, parameters string) string {
	t.Helper()
	spec, err := h.Provision(brokertest.CallerContext(), id, domain.ProvisionDetails{
		ServiceID: brokertest.Service, PlanID: plan, RawParameters: json.RawMessage(parameters),
	}, true)
	return begun(t, h, id, "", spec.OperationData, err)
}

func update(t *testing.T, h *brokertest.Harness, id, parameters string) string {
	t.Helper()
	spec, err := h.Update(brokertest.CallerContext(), id, domain.UpdateDetails{
		ServiceID: brokertest.Service, RawParameters: json.RawMessage(parameters),
	}, true)
	return begun(t, h, id, "", spec.OperationData, err)
}

func deprovision(t *testing.T, h *brokertest.Harness, id string) string {
	t.Helper()
	operation, err := h.Deprovision(brokertest.CallerContext(), id, true)
	return begun(t, h, id, "", operation, err)
}

func bind(t *testing.T, h *brokertest.Harness, instance, id, plan string) string {
	t.Helper()
	binding, err := h.Bind(brokertest.CallerContext(), instance, id, domain.BindDetails{ServiceID: brokertest.Service, PlanID: plan}, true)
	return begun(t, h, instance, id, binding.OperationData, err)
}

func unbind(t *testing.T, h *brokertest.Harness, instance, id string) string {
	t.Helper()
	operation, err := h.Unbind(brokertest.CallerContext(), instance, id, true)
	return begun(t, h, instance, id, operation, err)
}

func begun(t *testing.T, h *brokertest.Harness, instance, binding, operation string, refused error) string {
	t.Helper()
	if operation != "" {
		return operation
	}
	op, err := h.Store.LastOperation(context.Background(), h.Store.Pool, store.LastOperationParams{InstanceID: instance, BindingID: binding})
	if err != nil {
		t.Fatalf("find the operation: %v", err)
	}
	if refused != nil && (op.State != store.Failed || op.Description != refused.Error()) { // else it failed before the answer
		t.Fatalf("refused: %v", refused)
	}
	return op.ID
}

// done waits for an operation that has to succeed.
func done(t *testing.T, h *brokertest.Harness, operation string) {
	t.Helper()
	if op := h.AwaitOperation(t, operation); op.State != store.Succeeded {
		t.Fatalf("%s ended as %s: %q, last error %q", op.Kind, op.Outcome, op.Description, op.LastError)
	}
}

// credentials returns a binding's credentials.
func credentials(t *testing.T, h *brokertest.Harness, instance, id string) json.RawMessage {
	t.Helper()
	binding, err := h.FetchBinding(brokertest.CallerContext(), instance, id)
	if err != nil {
		t.Fatalf("fetch binding %s: %v", id, err)
	}
	raw, err := json.Marshal(binding.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func row(t *testing.T, h *brokertest.Harness, operation string) store.Operation {
	t.Helper()
	op, err := h.Store.Operation(context.Background(), h.Store.Pool, operation)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// eventually waits for what nobody tells.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > 40*time.Second {
			t.Fatalf("it did not come to that: %s", what)
		}
	}
}

func query[T any](t *testing.T, h *brokertest.Harness, sql string, args ...any) T {
	t.Helper()
	var value T
	if err := h.Store.Pool.QueryRow(context.Background(), sql, args...).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}
