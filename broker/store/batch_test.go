package store_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/chandler-broker/chandler/broker/store"
)

func newInstance(id string) store.InsertInstanceParams {
	return store.InsertInstanceParams{ID: id, Context: []byte(`{}`), Parameters: []byte(`{}`)}
}

func setStatus(s *store.Store, id string, status store.Status) func(store.DBTX) error {
	return func(db store.DBTX) error {
		return s.SetInstanceStatus(context.Background(), db, store.SetInstanceStatusParams{ID: id, Status: status})
	}
}

func collect(t *testing.T, b *store.Batch, f func(store.DBTX) error) {
	t.Helper()
	if err := b.Collect(f); err != nil {
		t.Fatal(err)
	}
}

// A batch runs its queries in order, each of which sees what those before it did.
func TestBatch(t *testing.T) {
	s := migrated(t)
	var b store.Batch
	absent := store.Read(t.Context(), &b, s.Instance, "i")
	inserted := store.Read(t.Context(), &b, s.InsertInstance, newInstance("i"))
	again := store.Read(t.Context(), &b, s.InsertInstance, newInstance("i"))
	collect(t, &b, setStatus(s, "i", store.Ready))
	present := store.Read(t.Context(), &b, s.Instance, "i")
	many := store.Read(t.Context(), &b, s.UnfinishedOperations, "i")
	if err := b.Send(t.Context(), s.Pool); err != nil {
		t.Fatal(err)
	}
	if !store.NotFound(absent.Err) || inserted.Value != 1 || again.Value != 0 {
		t.Errorf("%v, %d inserted, then %d", absent.Err, inserted.Value, again.Value)
	}
	if present.Err != nil || present.Value.Status != store.Ready || len(many.Value) != 0 || many.Err != nil {
		t.Errorf("%+v, %+v", present, many)
	}
}

// A transaction whose begin and commit travel with its statements is one: a statement
// that the database refuses undoes all.
func TestTransactionInBatches(t *testing.T) {
	tests := map[string]struct {
		last   store.Status
		commit bool
		status store.Status
	}{
		"committed":   {store.Ready, true, store.Ready},
		"refused":     {"no such status", true, store.Creating},
		"rolled back": {store.Ready, false, store.Creating},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := migrated(t)
			if _, err := s.InsertInstance(t.Context(), s.Pool, newInstance("i")); err != nil {
				t.Fatal(err)
			}
			var first store.Batch
			committed := false
			collect(t, &first, setStatus(s, "i", store.DeleteFailed))
			seen := store.Read(t.Context(), &first, s.Instance, "i")
			tx, err := s.BeginWith(t.Context(), &first)
			if err != nil || seen.Value.Status != store.DeleteFailed {
				t.Fatalf("%+v, %v", seen, err)
			}
			if i, err := s.Instance(t.Context(), s.Pool, "i"); err != nil || i.Status != store.Creating {
				t.Errorf("others see %s, %v", i.Status, err)
			}
			err = tx.Last(func(db store.DBTX) error {
				return errors.Join(setStatus(s, "i", test.last)(db), setStatus(s, "j", store.Ready)(db))
			})
			if err != nil {
				t.Fatal(err)
			}
			tx.OnCommit(func() { committed = true })
			if test.commit {
				err = tx.Commit(t.Context())
			}
			if committed != (test.commit && err == nil) {
				t.Errorf("told of a commit: %t", committed)
			}
			if (err != nil) != (test.last == "no such status") {
				t.Errorf("commit: %v", err)
			}
			for range 2 { // after the end it does nothing
				if err := tx.Rollback(t.Context()); err != nil {
					t.Errorf("roll back: %v", err)
				}
			}
			if i, err := s.Instance(t.Context(), s.Pool, "i"); err != nil || i.Status != test.status {
				t.Errorf("the instance is %s, not %s (%v)", i.Status, test.status, err)
			}
			if busy := s.Pool.Stat().AcquiredConns(); busy != 0 {
				t.Errorf("%d connections are not given back", busy)
			}
		})
	}
}

// A transaction that cannot begin leaves no connection behind.
func TestBeginFails(t *testing.T) {
	s := migrated(t)
	var b store.Batch
	collect(t, &b, setStatus(s, "i", store.Ready))
	collect(t, &b, func(db store.DBTX) error {
		_, err := db.Exec(t.Context(), "no statement")
		return err
	})
	_, err := s.BeginWith(t.Context(), &b)
	if _, refused := errors.AsType[*pgconn.PgError](err); !refused {
		t.Errorf("%v", err)
	}
	if busy := s.Pool.Stat().AcquiredConns(); busy != 0 {
		t.Errorf("%d connections are not given back", busy)
	}
}

// A transaction that the server has not begun is not rolled back: its log would warn.
func TestBeginCancelled(t *testing.T) {
	s := migrated(t)
	watch, err := pgx.Connect(t.Context(), s.Pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close(context.Background())
	cancelled, cancel := context.WithCancel(t.Context())
	defer s.Pool.Close()
	config := s.Pool.Config()
	config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { cancel(); return true, nil }
	if s.Pool, err = pgxpool.NewWithConfig(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	defer s.Pool.Close()
	if _, err := s.BeginWith(cancelled, &store.Batch{}); !errors.Is(err, context.Canceled) {
		t.Errorf("begun: %v", err)
	}
	var n int
	err = watch.QueryRow(t.Context(), "select count(*) from pg_stat_activity where datname = current_database() and query = 'rollback'").Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d connections were rolled back: %v", n, err)
	}
}
