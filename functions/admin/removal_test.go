package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/admin"
	"github.com/chandler-broker/chandler/functions/admin/admintest"
	"github.com/chandler-broker/chandler/functions/state"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

const space = "space"

func open(t *testing.T) *admintest.Operator {
	t.Helper()
	return admintest.Open(t, embeddedtest.Database(t))
}

// A deletion waits for a runtime to remove the feeds, in vain where none runs,
// deletes activations in batches, and leaves nothing.
func TestDeletion(t *testing.T) {
	o := open(t)
	o.Namespace(t, space, admintest.Limits())
	o.Key(t, space, "k")
	exec(t, o, `insert into feeds (id, namespace, trigger, kind, settings, sealed) values ($1, $2, 't', 'alarm', '{}', '')`, uuid.New(), space)
	exec(t, o, `insert into activations (namespace, id, name, path, version, subject, started_at)
		select $1, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now() from generate_series(1, $2)`, space, admin.RemovedAtOnce+1)
	notices := listening(t, o)
	if diff := cmp.Diff(map[string]int{"namespaces": 1, "keys": 1, "feeds": 1, "activations": admin.RemovedAtOnce + 1}, o.Rows(t, space)); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	notYet := func(note string) {
		t.Helper()
		answer := o.Expect(t, http.StatusAccepted, "DELETE", "namespaces/"+space, nil)
		if after, _ := answer["retry_after_ms"].(float64); answer["waiting"] != note || after <= 0 {
			t.Fatalf("%v, want %q", answer, note)
		}
	}
	notYet("waiting up to 15s for a runtime to remove 1 feed(s) from their message servers")
	notices(state.Notice{Channel: state.NamespaceEnded, Payload: space})
	if left := o.Rows(t, space); left["keys"] > 0 {
		t.Error("the key is still there")
	}
	for _, put := range []string{"namespaces/" + space, "namespaces/" + space + "/keys/k"} {
		body := any(admintest.Body(admintest.Limits()))
		if strings.Contains(put, "keys") {
			body = newKey()
		}
		if answer := o.Expect(t, http.StatusConflict, "PUT", put, body); answer["code"] != "ending" {
			t.Errorf("made while it was being deleted: %v", answer)
		}
	}
	exec(t, o, "update namespaces set ending_at = now() - make_interval(secs => $1)", admin.FeedPatience.Seconds())
	notYet("the activations are being deleted")
	for range 2 {
		o.Expect(t, http.StatusNoContent, "DELETE", "namespaces/"+space, nil)
	}
	notices(state.Notice{Channel: state.NamespaceEnded, Payload: space}) // of the second call
	// A later runtime removes what the feed has elsewhere, and then its row.
	if diff := cmp.Diff(map[string]int{"feeds": 1}, o.Rows(t, space)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

// listening returns what waits for a notice.
func listening(t *testing.T, o *admintest.Operator) func(want state.Notice) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	notices := make(chan state.Notice, 100)
	go o.Store.Listen(ctx, slog.New(slog.DiscardHandler), func(n state.Notice) { notices <- n })
	next := func(want state.Notice) {
		t.Helper()
		for {
			select {
			case got := <-notices:
				if got == want {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no %+v", want)
			}
		}
	}
	next(state.Notice{})
	return next
}

// However much a namespace holds, each call of its deletion stays short, and another
// one's is not held up meanwhile.
func TestDeletionOfMuch(t *testing.T) {
	o := open(t)
	o.Namespace(t, space, admintest.Limits())
	o.Namespace(t, "other", admintest.Limits())
	exec(t, o, `insert into triggers (namespace, name, version, publish, annotations, parameters)
		select $1, 't' || i, '0.0.1', false, '[]', '' from generate_series(1, 50000) i`, space)
	exec(t, o, `insert into rules (namespace, name, version, publish, annotations, trigger, action_namespace, action_package, action_name, active)
		select $1, 'r' || i, '0.0.1', false, '[]', 't' || i, $1, '', 'a', true from generate_series(1, 50000) i`, space)
	// 8 actions of 10 MB are more than one batch.
	exec(t, o, `insert into actions (namespace, package, name, version, publish, annotations, parameters, kind, main, code, code_hash, components, timeout_ms, memory_mb, logs_mb)
		select $1, '', 'a' || i, '0.0.1', false, '[]', '', 'wasm:default', '', convert_to(repeat('x', 10000000), 'UTF8'), '', '{}', 1000, 128, 1 from generate_series(1, 8) i`, space)
	exec(t, o, `insert into activations (namespace, id, name, path, version, subject, started_at, bytes)
		select $1, gen_random_uuid(), 'a', 'a', '0.0.1', 's', now(), 1000000 from generate_series(1, 200)`, space)
	notes := map[string]int{}
	for calls := 0; ; calls++ {
		begun := time.Now()
		status, answer := o.Do(t, "DELETE", "namespaces/"+space, nil)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("a call took %s", took)
		}
		if status == http.StatusNoContent {
			break
		}
		if status != http.StatusAccepted || calls > 100 {
			t.Fatal(status, answer)
		}
		note, _ := answer["waiting"].(string)
		if notes[note]++; calls == 0 {
			o.Expect(t, http.StatusNoContent, "DELETE", "namespaces/other", nil)
		}
	}
	want := map[string]int{"the activations are being deleted": 2, "the rules are being deleted": 2, "the triggers are being deleted": 2, "the actions are being deleted": 1}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Errorf("waited for (-want +got):\n%s", diff)
	}
	if left := o.Rows(t, space); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A runtime that hangs in the middle of a change of a namespace delays only changes of that
// namespace, which report it.
func TestHeldNamespace(t *testing.T) {
	o, ctx := open(t), t.Context()
	o.Namespace(t, space, admintest.Limits())
	o.Namespace(t, "other", admintest.Limits())
	o.Key(t, space, "k")
	held, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- o.Store.InTx(ctx, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, "set local idle_in_transaction_session_timeout = 0")
			_, lockErr := o.Store.LockNamespace(ctx, tx, space)
			close(held)
			<-end
			return errors.Join(err, lockErr)
		})
	}()
	<-held
	o.Expect(t, http.StatusNoContent, "DELETE", "namespaces/"+space+"/keys/k", nil)
	o.Expect(t, http.StatusNoContent, "DELETE", "namespaces/other", nil)
	if answer := o.Expect(t, http.StatusLocked, "DELETE", "namespaces/"+space, nil); answer["code"] != "locked" {
		t.Errorf("deletion of a held namespace: %v", answer)
	}
	close(end)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	o.Expect(t, http.StatusNoContent, "DELETE", "namespaces/"+space, nil)
	var limit string
	if err := o.Store.Pool.QueryRow(ctx, "show idle_in_transaction_session_timeout").Scan(&limit); err != nil || limit != "30s" {
		t.Errorf("a runtime's transactions end by themselves after %q: %v", limit, err)
	}
}

// exec writes what a runtime would have written.
func exec(t *testing.T, o *admintest.Operator, sql string, args ...any) {
	t.Helper()
	if _, err := o.Store.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}
