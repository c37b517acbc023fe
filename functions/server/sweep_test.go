package server

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func migrated(t *testing.T) *state.Store {
	t.Helper()
	s, err := state.Open(t.Context(), embeddedtest.Database(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(t.Context(), discard()); err != nil {
		t.Fatal(err)
	}
	return s
}

func namespace(t *testing.T, s *state.Store, name string, limits state.Limits) {
	t.Helper()
	text, err := json.Marshal(limits)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutNamespace(t.Context(), s.Pool, state.PutNamespaceParams{Name: name, Limits: text, Mounts: []byte("[]")}); err != nil {
		t.Fatal(err)
	}
}

func execute(t *testing.T, s *state.Store, sql string, args ...any) {
	t.Helper()
	if _, err := s.Pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// activation writes one of an age and a size.
func activation(t *testing.T, s *state.Store, namespace, name string, age time.Duration, bytes int) {
	t.Helper()
	execute(t, s, `insert into activations (namespace, id, name, path, version, subject, started_at, ended_at, bytes)
		values ($1, gen_random_uuid(), $2, $2, '0.0.1', 's', now() - make_interval(secs => $3), now(), $4)`,
		namespace, name, age.Seconds(), bytes)
}

func retained(t *testing.T, s *state.Store) []string {
	t.Helper()
	rows, err := s.Pool.Query(t.Context(), "select namespace || ' ' || name from activations order by 1")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		all = append(all, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// What is older than a plan keeps goes, and what is more; each namespace has its
// own plan, and what still runs stays.
func TestSweep(t *testing.T) {
	s := migrated(t)
	const hour, mb = time.Hour, 1 << 20
	namespace(t, s, "a", state.Limits{RetentionSeconds: 3600, ActivationBytes: 10 * mb})
	namespace(t, s, "b", state.Limits{RetentionSeconds: 36000, ActivationBytes: 10 * mb})
	activation(t, s, "a", "fresh", hour/2, 1)
	activation(t, s, "a", "old", 2*hour, 1)
	activation(t, s, "b", "old but retained", 2*hour, mb)
	activation(t, s, "b", "small and newest", 0, 1)
	activation(t, s, "b", "large and new", time.Minute, 9*mb)
	activation(t, s, "b", "too much", hour, mb)
	execute(t, s, `insert into activations (namespace, id, name, path, version, subject, started_at, runtime, bytes)
		values ('a', gen_random_uuid(), 'running', 'r', '0.0.1', 's', now() - interval '3 hours', gen_random_uuid(), 0)`)
	sweeper := sweeper{s, discard()}
	for range 2 {
		if err := sweeper.sweep(t.Context(), hour); err != nil {
			t.Fatal(err)
		}
		want := []string{"a fresh", "a running", "b large and new", "b small and newest"}
		if diff := cmp.Diff(want, retained(t, s)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// Many namespaces and many activations go in batches.
func TestSweepManyNamespaces(t *testing.T) {
	s := migrated(t)
	execute(t, s, `insert into namespaces (name, limits, mounts)
		select 'n' || n, '{"retention_s": 60, "activation_bytes": 1000000}', '[]' from generate_series(1, $1) n`, sweptAtOnce+5)
	execute(t, s, `insert into activations (namespace, id, name, path, version, subject, started_at)
		select 'n' || n, gen_random_uuid(), 'old', 'old', '0.0.1', 's', now() - interval '2 minutes' from generate_series(1, $1) n, generate_series(1, 3)`, sweptAtOnce+5)
	activation(t, s, fmt.Sprint("n", sweptAtOnce), "fresh", 0, 1)
	if err := (sweeper{s, discard()}).sweep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{fmt.Sprint("n", sweptAtOnce, " fresh")}, retained(t, s)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One runtime sweeps at a time; the lock is given back.
func TestSweepAlone(t *testing.T) {
	s := migrated(t)
	namespace(t, s, "a", state.Limits{RetentionSeconds: 60, ActivationBytes: 1 << 20})
	activation(t, s, "a", "old", time.Hour, 1)
	other, err := s.Pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(t.Context(), "select pg_advisory_lock($1)", sweepLock); err != nil {
		t.Fatal(err)
	}
	sweeper := sweeper{s, discard()}
	if err := sweeper.sweep(t.Context(), time.Hour); err != nil || len(retained(t, s)) != 1 {
		t.Errorf("beside another runtime: %v, %v", retained(t, s), err)
	}
	if _, err := other.Exec(t.Context(), "select pg_advisory_unlock($1)", sweepLock); err != nil {
		t.Fatal(err)
	}
	other.Release()
	for range 2 {
		if err := sweeper.sweep(t.Context(), time.Hour); err != nil || len(retained(t, s)) != 0 {
			t.Errorf("alone: %v, %v", retained(t, s), err)
		}
	}
	var locks int
	if err := s.Pool.QueryRow(t.Context(), "select count(*) from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())").Scan(&locks); err != nil || locks != 0 {
		t.Errorf("locks still held: %d, %v", locks, err)
	}
}
