package operation_test

import (
	"context"
	"testing"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// aged makes an operation old enough for the sweeper.
const aged = "update operations set created_at = now() - interval '6 seconds' where id = $1"

// lose accepts the unbind of b and loses its job in the same moment.
func lose(t *testing.T, h *brokertest.Harness) (id string) {
	t.Helper()
	ctx := context.Background()
	// A replica that does not work writes a job.
	idle := brokertest.New(t, brokertest.Options{DatabaseURL: h.DatabaseURL, Backend: h.Backend, Credentials: h.Memory, NoWork: true})
	err := idle.Store.InTx(ctx, func(tx *store.Tx) error {
		i, err := idle.Store.Instance(ctx, tx, "i")
		if err != nil {
			return err
		}
		op, err := idle.Engine.Accept(ctx, tx, i, operation.Request{Kind: store.Unbind, BindingID: "b"})
		if err != nil {
			return err
		}
		id = op.ID
		if _, err := tx.Exec(ctx, "delete from river_job where id = $1", op.JobID); err != nil {
			return err
		}
		return tx.Last(func(db store.DBTX) error {
			_, err := db.Exec(ctx, aged, op.ID)
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Operations whose job is lost get another one.
func TestSweep(t *testing.T) {
	t.Parallel()
	h := prepared(t)
	const its = " where id = (select job_id from operations where id = $1)"
	lost := map[string]string{
		"gone":            "delete from river_job" + its,
		"completed":       "update river_job set state = 'completed', finalized_at = now()" + its,
		"discarded":       "update river_job set state = 'discarded', finalized_at = now()" + its,
		"running nowhere": "update river_job set state = 'running', attempt = 1, attempted_at = now() - interval '6 seconds', attempted_by = '{dead}'" + its,
	}
	var ids []string
	for name, sql := range lost {
		id := provision(t, h, name, brokertest.Small, "")
		for _, change := range []string{sql, aged} {
			if tag, err := h.Store.Pool.Exec(context.Background(), change, id); err != nil || tag.RowsAffected() != 1 {
				t.Fatalf("%s: %s, %v", name, tag, err)
			}
		}
		ids = append(ids, id)
	}
	h.Work(t)
	for _, id := range ids {
		done(t, h, id)
	}
	consistent(t, h)
}

// An operation that is being worked on is let alone, however long that takes.
func TestSweepLetsWorkersWork(t *testing.T) {
	tests := map[string]bool{"that has a job": false, "that has none": true}
	for name, direct := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := prepared(t)
			gate := brokertest.NewGate()
			h.Backend.BeforeCall(func(ctx context.Context, _, id string) error {
				if id == "long" {
					return gate.Pass(ctx)
				}
				return nil
			})
			changes := []string{aged}
			if direct {
				h.Work(t)
			} else {
				changes = append(changes, "update river_job set attempted_at = now() - interval '6 seconds' where id = (select job_id from operations where id = $1)")
			}
			long := provision(t, h, "long", brokertest.Small, "")
			if !direct {
				h.Work(t)
			}
			gate.AwaitCall(t)
			before := row(t, h, long).JobID
			if (before == 0) != direct {
				t.Fatalf("its job is %d", before)
			}
			for _, change := range changes {
				if tag, err := h.Store.Pool.Exec(context.Background(), change, long); err != nil || tag.RowsAffected() != 1 {
					t.Fatalf("%s, %v", tag, err)
				}
			}
			done(t, h, lose(t, h)) // the sweep that found this one had looked at the other before
			if after := row(t, h, long).JobID; after != before {
				t.Errorf("it got another job: %d, then %d", before, after)
			}
			gate.Open()
			done(t, h, long)
			consistent(t, h)
		})
	}
}
