package openwhisk

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// However much a namespace holds, each call of its deprovision stays short, and
// another tenant's is not held up meanwhile.
func TestDeprovisionOfMuch(t *testing.T) {
	b, ctx := testBackend(t), t.Context()
	inst := testInstance(t, `{}`)
	other := instance{ID: "other", Name: services.InstanceName("other"), Plan: inst.Plan}
	for _, i := range []instance{inst, other} {
		if err := servicetest.Once(b).Provision(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	b.exec(t, `insert into triggers (namespace, name, version, publish, annotations, parameters)
		select $1, 't' || i, '0.0.1', false, '[]', '' from generate_series(1, 50000) i`, inst.Name)
	b.exec(t, `insert into rules (namespace, name, version, publish, annotations, trigger, action_namespace, action_package, action_name, active)
		select $1, 'r' || i, '0.0.1', false, '[]', 't' || i, $1, '', 'a', true from generate_series(1, 50000) i`, inst.Name)
	// 8 actions of 10 MB are more than one batch.
	b.exec(t, `insert into actions (namespace, package, name, version, publish, annotations, parameters, kind, main, code, code_hash, components, timeout_ms, memory_mb, logs_mb)
		select $1, '', 'a' || i, '0.0.1', false, '[]', '', 'wasm:default', '', convert_to(repeat('x', 10000000), 'UTF8'), '', '{}', 1000, 128, 1 from generate_series(1, 8) i`, inst.Name)
	b.exec(t, `insert into activations (namespace, id, name, path, version, subject, started_at, bytes)
		select $1, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now(), 1000000 from generate_series(1, 200)`, inst.Name)
	notes := map[string]int{}
	for calls := 0; ; calls++ {
		begun := time.Now()
		err := servicetest.Once(b).Deprovision(ctx, inst)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("a call took %s", took)
		}
		if err == nil {
			break
		}
		later, ok := errors.AsType[*services.NotYetError](err)
		if !ok || calls > 100 {
			t.Fatal(err)
		}
		if notes[later.Note]++; calls == 0 {
			if err := servicetest.Once(b).Deprovision(ctx, other); err != nil {
				t.Errorf("another tenant: %v", err)
			}
		}
	}
	want := map[string]int{"the activations are being deleted": 2, "the rules are being deleted": 2, "the triggers are being deleted": 2, "the actions are being deleted": 1}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("waited for (-want +got):\n%s", diff)
	}
	if left := b.rows(t, inst.Name); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A runtime that hangs in the middle of a change of a namespace holds up nobody but
// that namespace's own, and says so.
func TestHeldNamespace(t *testing.T) {
	b, ctx := testBackend(t), t.Context()
	inst := testInstance(t, `{}`)
	other := instance{ID: "other", Name: services.InstanceName("other"), Plan: inst.Plan}
	for _, i := range []instance{inst, other} {
		if err := servicetest.Once(b).Provision(ctx, i); err != nil {
			t.Fatal(err)
		}
	}
	bd := testBinding(t, "b")
	if _, err := servicetest.Once(b).Bind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	held := make(chan struct{})
	end := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- b.store.InTx(ctx, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "set local idle_in_transaction_session_timeout = 0"); err != nil {
				return err
			}
			_, err := b.store.LockNamespace(ctx, tx, inst.Name)
			close(held)
			<-end
			return err
		})
	}()
	<-held
	if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
		t.Errorf("unbind: %v", err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, other); err != nil {
		t.Errorf("another tenant: %v", err)
	}
	bounded, cancel := context.WithTimeout(ctx, 25*time.Second)
	defer cancel()
	if later, ok := errors.AsType[*services.NotYetError](servicetest.Once(b).Deprovision(bounded, inst)); !ok || !strings.HasPrefix(later.Note, "waiting for another change of the namespace") {
		t.Errorf("deprovision of a held namespace: %+v", later)
	}
	close(end)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := servicetest.Once(b).Deprovision(ctx, inst); err != nil {
		t.Error(err)
	}
	var limit string
	if err := b.store.Pool.QueryRow(ctx, "show idle_in_transaction_session_timeout").Scan(&limit); err != nil || limit != "30s" {
		t.Errorf("a runtime's transactions end by themselves after %q: %v", limit, err)
	}
}
