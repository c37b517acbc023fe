package operation

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/broker/store"
)

// channel is the one PostgreSQL channel that replicas tell each other on; a
// message is a verb and an operation's ID.
const (
	channel   = "chandler_operation"
	finished  = "finished"
	cancelled = "cancelled"
)

func (e *Engine) notify(ctx context.Context, db store.DBTX, verb, operationID string) error {
	return e.Store.Notify(ctx, db, store.NotifyParams{Channel: channel, Payload: verb + " " + operationID})
}

// waiters are the callers of Wait in this process, by operation.
type waiters struct {
	mu   sync.Mutex
	byOp map[string][]chan struct{}
}

func (w *waiters) add(id string) chan struct{} {
	c := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byOp == nil {
		w.byOp = map[string][]chan struct{}{}
	}
	w.byOp[id] = append(w.byOp[id], c)
	return c
}

func (w *waiters) remove(id string, c chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := w.byOp[id][:0]
	for _, other := range w.byOp[id] {
		if other != c {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(w.byOp, id)
		return
	}
	w.byOp[id] = rest
}

// wake makes those who wait for the operation look; for all where id is empty.
func (w *waiters) wake(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for op, channels := range w.byOp {
		if id != "" && op != id {
			continue
		}
		for _, c := range channels {
			select {
			case c <- struct{}{}:
			default: // it has not looked since it was last woken
			}
		}
	}
}

// rereadAfter is when a waiter looks again that could not reach the database, or whom
// nobody tells.
const rereadAfter = 250 * time.Millisecond

// Wait returns the operation as soon as it ended, or as it is when the time is
// over. It learns of the end by notification; what another replica attempts without a job
// it reads from time to time. A database that is away for less than the limit is no error.
func (e *Engine) Wait(ctx context.Context, operationID string, limit time.Duration) (store.Operation, error) {
	woken := e.waiters.add(operationID)
	defer e.waiters.remove(operationID, woken)
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	if c := e.direct.completion(operationID); c != nil && !c.isDone() { // what has ended may have been retried since
		select {
		case <-c.done:
		case <-timeout.C:
			timeout.Reset(0)
		case <-ctx.Done():
			return store.Operation{}, ctx.Err()
		}
		if ended, ok := e.Ended(operationID); ok {
			return ended.Operation, nil
		}
	}
	for {
		op, err := e.Store.Operation(ctx, e.Store.Pool, operationID)
		if err == nil && op.State != store.InProgress || store.NotFound(err) {
			return op, err
		}
		var reread <-chan time.Time
		if err != nil || op.JobID == 0 {
			reread = time.After(rereadAfter)
		}
		select {
		case <-woken:
		case <-reread:
		case <-timeout.C:
			// Its end may just have been missed, while nobody listened.
			return e.Store.Operation(ctx, e.Store.Pool, operationID)
		case <-ctx.Done():
			return op, ctx.Err()
		}
	}
}

// listen passes the other replicas' notifications on, for as long as ctx lives.
func (e *Engine) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.listenOnce(ctx); err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "notifications of the state database are interrupted", "error", err.Error())
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (e *Engine) listenOnce(ctx context.Context) error {
	conn, err := e.Store.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	// The connection listens; it must not go back to the pool.
	raw := conn.Hijack()
	defer func() { _ = raw.Close(context.WithoutCancel(ctx)) }()
	if _, err := raw.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	e.waiters.wake("") // what ended while nobody listened
	for {
		n, err := e.notification(ctx, raw)
		if err != nil {
			return err
		}
		verb, id, _ := strings.Cut(n.Payload, " ")
		switch verb {
		case finished:
			e.waiters.wake(id)
		case cancelled:
			e.running.interrupt(id)
			e.waiters.wake(id) // a superseded create has ended
		}
	}
}

// pingEvery bounds how long a listener believes in a connection that a network
// has swallowed.
const pingEvery = 10 * time.Second

// notification waits for the next one and makes sure meanwhile that the
// connection lives.
func (e *Engine) notification(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	for {
		limited, cancel := context.WithTimeout(ctx, pingEvery)
		n, err := conn.WaitForNotification(limited)
		quiet := limited.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !quiet {
			return n, err
		}
		limited, cancel = context.WithTimeout(ctx, 5*time.Second)
		err = conn.Ping(limited)
		cancel()
		if err != nil {
			return nil, err
		}
	}
}
