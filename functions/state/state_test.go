package state_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t *testing.T, url string) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), url, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func migrated(t *testing.T) *state.Store {
	t.Helper()
	s := open(t, embeddedtest.Database(t))
	if err := s.Migrate(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	return s
}

// Several runtimes can start at the same time on an empty database.
func TestMigrateTogether(t *testing.T) {
	url := embeddedtest.Database(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := state.Open(t.Context(), url, 4)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for range 2 {
				if err := s.Migrate(t.Context(), discard()); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.NamespaceNames(t.Context(), s.Pool, state.NamespaceNamesParams{Batch: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s := open(t, url)
	var elsewhere int
	err := s.Pool.QueryRow(t.Context(), "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'public'").Scan(&elsewhere)
	if err != nil || elsewhere > 0 {
		t.Errorf("outside of its schema: %d, %v", elsewhere, err)
	}
}

// Errors about the database do not contain its password.
func TestOpenFails(t *testing.T) {
	for name, url := range map[string]string{
		"no URL":      "postgres://u:hunter2@[/x",
		"bad setting": "postgres://u:hunter2@127.0.0.1:1/x?sslmode=hunter2",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := state.Open(t.Context(), url, 2); err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v", err)
			}
		})
	}
	s := open(t, "postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable")
	if err := s.Ready(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("nobody there: %v", err)
	}
}

func hash(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

// A key is accepted from its creation until it or its namespace is deleted.
func TestKeysAreAccepted(t *testing.T) {
	s := migrated(t)
	ctx := t.Context()
	id := uuid.New()
	accepts := func(h []byte) bool {
		t.Helper()
		_, err := s.Caller(ctx, s.Pool, state.CallerParams{Uuid: id, Hash: h})
		if err != nil && !state.NotFound(err) {
			t.Fatal(err)
		}
		return err == nil
	}
	put := func() int64 {
		t.Helper()
		n, err := s.PutKey(ctx, s.Pool, state.PutKeyParams{Uuid: id, Namespace: "n", Binding: "b", Hash: hash(1), Role: state.Invoke})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if put() != 0 || accepts(hash(1)) {
		t.Error("a key of a namespace that is not there")
	}
	for range 2 {
		if n, err := s.PutNamespace(ctx, s.Pool, state.PutNamespaceParams{Name: "n", Limits: []byte(`{"timeout_ms": 5}`), Mounts: []byte(`[]`)}); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if put() != 1 || !accepts(hash(1)) || accepts(hash(2)) {
			t.Error("the key is refused, or another one accepted")
		}
	}
	got, err := s.Caller(ctx, s.Pool, state.CallerParams{Uuid: id, Hash: hash(1)})
	want := state.CallerRow{Namespace: "n", Binding: "b", Role: state.Invoke, Limits: []byte(`{"timeout_ms": 5}`), Mounts: []byte(`[]`)}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err := s.DeleteKey(ctx, s.Pool, state.DeleteKeyParams{Namespace: "n", Binding: "b"}); err != nil || accepts(hash(1)) {
		t.Errorf("after its end: %v", err)
	}
	put()
	ending := state.EndNamespaceParams{Name: "n", Channel: state.NamespaceEnded}
	for range 2 {
		if since, err := s.EndNamespace(ctx, s.Pool, ending); since < 0 || err != nil || accepts(hash(1)) || put() != 0 {
			t.Errorf("a namespace that is ending: since %f, %v", since, err)
		}
	}
	if n, err := s.PutNamespace(ctx, s.Pool, state.PutNamespaceParams{Name: "n", Limits: []byte(`{}`), Mounts: []byte(`[]`)}); n != 0 || err != nil {
		t.Errorf("a namespace that is ending was made again: %d, %v", n, err)
	}
	if err := s.DeleteNamespace(ctx, s.Pool, state.DeleteNamespaceParams{Name: "n", Channel: state.NamespaceEnded}); err != nil {
		t.Error(err)
	}
	if _, err := s.EndNamespace(ctx, s.Pool, ending); !state.NotFound(err) {
		t.Errorf("end a namespace that is gone: %v", err)
	}
	if keys, err := s.Keys(ctx, s.Pool, state.KeysParams{Batch: 10}); err != nil || len(keys) > 0 {
		t.Errorf("keys of no namespace: %v, %v", keys, err)
	}
}

// Notices arrive in order. The first one, and the first after a lost connection, says that
// some may be missing.
func TestListen(t *testing.T) {
	s := migrated(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	notices := make(chan state.Notice)
	go s.Listen(ctx, discard(), func(n state.Notice) { notices <- n })
	next := func(want state.Notice) {
		t.Helper()
		select {
		case got := <-notices:
			if got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		case <-ctx.Done():
			t.Fatalf("no %+v", want)
		}
	}
	notify := func(channel, payload string) {
		t.Helper()
		if err := s.Notify(ctx, s.Pool, state.NotifyParams{Channel: channel, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	next(state.Notice{})
	notify(state.NamespaceEnded, "a")
	notify(state.FeedsChanged, "b")
	next(state.Notice{Channel: state.NamespaceEnded, Payload: "a"})
	next(state.Notice{Channel: state.FeedsChanged, Payload: "b"})
	_, err := s.Pool.Exec(ctx, "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and datname = current_database() and query like 'listen %'")
	if err != nil {
		t.Fatal(err)
	}
	next(state.Notice{})
	notify(state.NamespaceEnded, "c")
	next(state.Notice{Channel: state.NamespaceEnded, Payload: "c"})
}

// A snapshot stays as it began, and changes nothing.
func TestSnapshot(t *testing.T) {
	s := migrated(t)
	count := func(db state.DBTX) (n int) {
		t.Helper()
		if err := db.QueryRow(t.Context(), "select count(*) from runtimes").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	add := "insert into runtimes (id) values (gen_random_uuid())"
	err := s.Snapshot(t.Context(), func(tx pgx.Tx) error {
		before := count(tx)
		if _, err := s.Pool.Exec(t.Context(), add); err != nil {
			return err
		}
		if after := count(tx); after != before || count(s.Pool) != before+1 {
			t.Errorf("%d rows, and then %d", before, after)
		}
		var patience string
		if err := tx.QueryRow(t.Context(), "show idle_in_transaction_session_timeout").Scan(&patience); err != nil || patience != "15min" {
			t.Errorf("it may pause for %q: %v", patience, err)
		}
		_, err := tx.Exec(t.Context(), add)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a change: %v", err)
	}
}
