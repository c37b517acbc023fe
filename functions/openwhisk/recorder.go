package openwhisk

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/semaphore"

	"github.com/chandler-broker/chandler/functions/state"
)

const (
	linger    = 20 * time.Millisecond // the first record of a batch waits for others
	batchSize = 200
	rewrite   = time.Second      // the pause after a failed write
	patience  = 10 * time.Second // an activation waits for space
)

// recorder writes records in batches after the answers; find returns unwritten ones.
type recorder struct {
	store  *state.Store
	logger *slog.Logger
	space  *semaphore.Weighted // bytes that may wait
	most   int64
	wake   chan struct{}
	hurry  chan struct{} // ends the wait for more records

	mu        sync.Mutex
	queue     []*record
	unwritten map[uuid.UUID]*record
	written   chan struct{} // closed and replaced after every batch
}

func newRecorder(store *state.Store, logger *slog.Logger, most int64) *recorder {
	return &recorder{
		store: store, logger: logger, space: semaphore.NewWeighted(most), most: most, wake: make(chan struct{}, 1),
		hurry: make(chan struct{}, 1), unwritten: map[uuid.UUID]*record{}, written: make(chan struct{}),
	}
}

func (r *recorder) weight(rec *record) int64 { return min(rec.size(), r.most) }

// add queues a record. It waits while too much is unwritten, and finally drops the record.
func (r *recorder) add(ctx context.Context, rec *record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := r.space.Acquire(ctx, r.weight(rec)); err != nil {
		r.logger.ErrorContext(ctx, "activation not recorded: too many wait for the database", "namespace", rec.namespace)
		return
	}
	r.mu.Lock()
	r.queue = append(r.queue, rec)
	r.unwritten[rec.id] = rec
	full := len(r.queue) >= batchSize
	r.mu.Unlock()
	signal(r.wake)
	if full {
		signal(r.hurry)
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default: // a signal is pending
	}
}

// find returns an unwritten record of the namespace.
func (r *recorder) find(namespace string, id uuid.UUID) *record {
	r.mu.Lock()
	defer r.mu.Unlock()
	if rec := r.unwritten[id]; rec != nil && rec.namespace == namespace {
		return rec
	}
	return nil
}

// flush waits until the namespace's present records are written; "" means all namespaces.
func (r *recorder) flush(ctx context.Context, namespace string) error {
	r.mu.Lock()
	waiting := maps.Clone(r.unwritten)
	r.mu.Unlock()
	for {
		r.mu.Lock()
		written := r.written
		maps.DeleteFunc(waiting, func(id uuid.UUID, rec *record) bool {
			return r.unwritten[id] != rec || namespace != "" && rec.namespace != namespace
		})
		r.mu.Unlock()
		if len(waiting) == 0 {
			return nil
		}
		signal(r.wake)
		signal(r.hurry)
		select {
		case <-written:
		case <-ctx.Done():
			return errors.New("records of activations are not written: the database is unavailable or slow")
		}
	}
}

func (r *recorder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		select {
		case <-time.After(linger):
		case <-r.hurry:
		case <-ctx.Done():
		}
		for batch := r.take(); len(batch) > 0; batch = r.take() {
			r.writeAll(ctx, batch)
			r.done(batch)
		}
	}
}

func (r *recorder) take() []*record {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.queue), batchSize)
	batch := r.queue[:n:n]
	r.queue = r.queue[n:]
	return batch
}

func (r *recorder) done(batch []*record) {
	r.mu.Lock()
	for _, rec := range batch {
		if r.unwritten[rec.id] == rec { // and not a later one of the same activation
			delete(r.unwritten, rec.id)
		}
		r.space.Release(r.weight(rec))
	}
	close(r.written)
	r.written = make(chan struct{})
	r.mu.Unlock()
}

// namespaceGone is foreign_key_violation: the namespace was deleted during the write.
const namespaceGone = "23503"

// writeAll retries while the database is unavailable, and drops records that it refuses.
func (r *recorder) writeAll(ctx context.Context, batch []*record) {
	for {
		err := r.write(ctx, batch)
		refusal, refused := errors.AsType[*pgconn.PgError](err)
		switch {
		case err == nil:
			return
		case !refused || state.Unavailable(err):
		case len(batch) > 1:
			for i := range batch {
				r.writeAll(ctx, batch[i:i+1])
			}
			return
		default:
			if refusal.Code != namespaceGone {
				r.logger.ErrorContext(ctx, "activation not recorded", "namespace", batch[0].namespace, "error", err)
			}
			return
		}
		r.logger.WarnContext(ctx, "activations cannot be recorded yet", "activations", len(batch), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(rewrite):
		}
	}
}

func (r *recorder) write(ctx context.Context, batch []*record) error {
	rows := make([]state.EndActivationsParams, len(batch))
	for i, rec := range batch {
		rows[i] = rec.row()
	}
	// In a transaction: only its commit proves that the batch is written.
	return r.store.InTx(ctx, func(tx pgx.Tx) (failed error) {
		r.store.EndActivations(ctx, tx, rows).Exec(func(_ int, err error) { failed = cmp.Or(failed, err) })
		return failed
	})
}
