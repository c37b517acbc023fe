package store_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), embeddedtest.Database(t), 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func migrated(t *testing.T) *store.Store {
	t.Helper()
	s := open(t)
	if err := s.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Any number of replicas may start at once on an empty database.
func TestMigrateTogether(t *testing.T) {
	url := embeddedtest.Database(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), url, 4)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			for range 2 {
				if err := s.Migrate(t.Context(), slog.New(slog.DiscardHandler)); err != nil {
					t.Error(err)
				}
			}
			if _, err := s.ListInstances(t.Context(), s.Pool, store.ListInstancesParams{Batch: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// A database that is still starting is waited for; one that refuses is not.
func TestOpenWaits(t *testing.T) {
	server, err := embedded.StartPostgres(t.Context(), embedded.Options{Dir: needed(t), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop(context.Background()) })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	began := time.Now()
	if _, err := store.Open(ctx, server.URL("no_such_database"), 2); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("a database that does not exist: %v after %s", err, time.Since(began))
	}
	server.Kill()
	opened := make(chan error, 1)
	go func() {
		s, err := store.Open(ctx, server.URL("postgres"), 2)
		if err == nil {
			s.Close()
		}
		opened <- err
	}()
	if err := server.Restart(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// needed returns a folder for a server, and skips the test where there is none.
func needed(t *testing.T) string {
	t.Helper()
	embeddedtest.Postgres(t)
	return t.TempDir()
}

// What is wrong with the database is said without its password.
func TestOpenFails(t *testing.T) {
	tests := map[string]struct{ url, says string }{
		"no URL":       {"postgres://u:hunter2@[/x", "DATABASE_URL"},
		"bad setting":  {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=hunter2", "DATABASE_URL"},
		"nobody there": {"postgres://u:hunter2@127.0.0.1:1/x?sslmode=disable", "reach the state database"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			s, err := store.Open(ctx, test.url, 2)
			if err == nil {
				s.Close()
				t.Fatal("it opened")
			}
			if strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestInTxRollsBack(t *testing.T) {
	s := migrated(t)
	failure := errors.New("failure")
	insert := store.InsertInstanceParams{ID: "i", Context: []byte(`{}`), Parameters: []byte(`{}`)}
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := s.InsertInstance(t.Context(), tx, insert); err != nil {
			t.Error(err)
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	if _, err := s.Instance(t.Context(), s.Pool, "i"); !store.NotFound(err) {
		t.Errorf("it is there: %v", err)
	}
}

// What JSON and identifiers may hold comes back as it was.
func TestHostileValues(t *testing.T) {
	s := migrated(t)
	for _, id := range []string{"'; drop table instances; --", "../../x", "ä\u202e💣", strings.Repeat("x", 255), "%2F", " "} {
		parameters := []byte(`{"nul":"\u0000","huge":1e999,"lone":"\ud800","":[null]}`)
		_, err := s.InsertInstance(t.Context(), s.Pool, store.InsertInstanceParams{ID: id, Context: []byte(`{}`), Parameters: parameters})
		if err != nil {
			t.Fatalf("%q: %v", id, err)
		}
		got, err := s.Instance(t.Context(), s.Pool, id)
		if err != nil || got.ID != id || string(got.Parameters) != string(parameters) {
			t.Errorf("%q: %q, %s, %v", id, got.ID, got.Parameters, err)
		}
	}
}

// Whoever calls a backend with a lock in hand has it still when the backend took
// longer than a transaction may lie idle.
func TestOutside(t *testing.T) {
	t.Parallel()
	s := open(t)
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.Exec(t.Context(), "set local idle_in_transaction_session_timeout = '3s'"); err != nil {
			return err
		}
		err := store.HoldLocks(t.Context(), tx, func(ctx context.Context) error {
			select {
			case <-time.After(5 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		if err != nil {
			return err
		}
		_, err = tx.Exec(t.Context(), "select 1")
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Who lost his locks is told, and ends what he does for them.
func TestOutsideLosesTheLock(t *testing.T) {
	t.Parallel()
	s := open(t)
	err := s.InTx(t.Context(), func(tx *store.Tx) error {
		return store.HoldLocks(t.Context(), tx, func(ctx context.Context) error {
			_, err := s.Pool.Exec(ctx, "select pg_terminate_backend($1)", tx.Conn().PgConn().PID())
			if err != nil {
				return err
			}
			<-ctx.Done()
			return nil
		})
	})
	if err == nil || !strings.Contains(err.Error(), "the lock was lost") {
		t.Errorf("the error is %v", err)
	}
}

// A replica that is paused, or whose machine is gone, keeps nothing locked.
func TestIdleTransactionsEnd(t *testing.T) {
	t.Parallel()
	s := migrated(t)
	idle, err := s.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = idle.Rollback(context.Background()) }()
	if _, err := idle.Exec(t.Context(), "lock table instances"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ListInstances(t.Context(), s.Pool, store.ListInstancesParams{Batch: 1}); err != nil {
		t.Error(err)
	}
	if _, err := idle.Exec(t.Context(), "select 1"); err == nil {
		t.Error("the transaction goes on")
	}
}
