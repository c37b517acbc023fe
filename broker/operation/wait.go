package operation

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/chandler-broker/chandler/broker/store"
)

// channel is the PostgreSQL channel between replicas. A message is a verb and an
// operation's ID.
const (
	channel   = "chandler_operation"
	finished  = "finished"
	cancelled = "cancelled"
	copied    = "copy" // with a copy's ID
)

func (e *Engine) notify(ctx context.Context, db store.DBTX, verb, operationID string) error {
	return e.Store.Notify(ctx, db, store.NotifyParams{Channel: channel, Payload: verb + " " + operationID})
}

// NotifyCopy tells the replicas that a copy is due, or is cancelled.
func NotifyCopy(ctx context.Context, s *store.Store, db store.DBTX, copyID string) error {
	return s.Notify(ctx, db, store.NotifyParams{Channel: channel, Payload: copied + " " + copyID})
}

// wake makes those in this process who wait for the operation read it; all if id is empty.
func (e *Engine) wake(id string) {
	e.waiters.Range(func(woken, operationID any) bool {
		if id == "" || operationID == id {
			select {
			case woken.(chan struct{}) <- struct{}{}:
			default: // it has been woken already
			}
		}
		return true
	})
}

// rereadAfter is when a waiter reads the operation again if it could not reach the database,
// or will not be notified.
const rereadAfter = 250 * time.Millisecond

// Wait returns the operation when it ended, or as it is at the time limit. A notification
// tells of the end; an operation that another replica attempts without a job is read from
// time to time. A database that is unavailable for less than the limit causes no error.
func (e *Engine) Wait(ctx context.Context, operationID string, limit time.Duration) (store.Operation, error) {
	woken := make(chan struct{}, 1)
	e.waiters.Store(woken, operationID)
	defer e.waiters.Delete(woken)
	timeout := time.NewTimer(limit)
	defer timeout.Stop()
	if c := e.direct.running(operationID); c != nil {
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
			// The notification of its end may have been missed.
			return e.Store.Operation(ctx, e.Store.Pool, operationID)
		case <-ctx.Done():
			return op, ctx.Err()
		}
	}
}

// listen passes on the other replicas' notifications until ctx ends.
func (e *Engine) listen(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.listenOnce(ctx); err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "notifications of the state database are interrupted", "error", err.Error())
		}
		sleep(ctx, time.Second)
	}
}

func (e *Engine) listenOnce(ctx context.Context) error {
	conn, err := e.Store.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	// A connection that listens must not return to the pool.
	raw := conn.Hijack()
	defer func() { _ = raw.Close(context.WithoutCancel(ctx)) }()
	if _, err := raw.Exec(ctx, "listen "+channel); err != nil {
		return err
	}
	e.wake("") // what ended while nobody listened
	for {
		n, err := e.notification(ctx, raw)
		if err != nil {
			return err
		}
		verb, id, _ := strings.Cut(n.Payload, " ")
		switch verb {
		case finished:
			e.wake(id)
		case cancelled:
			e.interrupt(id)
			e.wake(id) // a preempted create has ended
		case copied:
			if e.OnCopy != nil {
				e.OnCopy(id)
			}
		}
	}
}

// pingEvery bounds how long a listener waits on a connection that the network has lost.
const pingEvery = 10 * time.Second

// notification waits for the next notification, and verifies meanwhile that the connection
// is alive.
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
