package store

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// exhaustionTime is how long a server that ran out of something counts as
// exhausted: a probe cannot tell that a disk is full, only a write that needs it.
const exhaustionTime = 30 * time.Second

// exhaustion is the latest error of a server that has no memory, locks, connections
// or disk left. It listens to all statements (pgx.QueryTracer, pgx.BatchTracer).
type exhaustion struct {
	latest atomic.Pointer[exhaustedError]
}

type exhaustedError struct {
	at  time.Time
	err error
}

// Exhausted says what the state database's server ran out of a moment ago; nil
// where it did not.
func (s *Store) Exhausted() error {
	e := s.exhaustion.latest.Load()
	if e == nil || time.Since(e.at) > exhaustionTime {
		return nil
	}
	return e.err
}

// IsExhausted says whether err is a server's that has run out of memory, locks,
// connections or disk: class 53 (PostgreSQL manual, appendix A).
func IsExhausted(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pg.Code, "53")
}

func (e *exhaustion) record(err error) {
	if IsExhausted(err) {
		e.latest.Store(&exhaustedError{time.Now(), err})
	}
}

// TraceQueryStart implements pgx.QueryTracer.
func (e *exhaustion) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (e *exhaustion) TraceQueryEnd(_ context.Context, _ *pgx.Conn, d pgx.TraceQueryEndData) {
	e.record(d.Err)
}

// TraceBatchStart implements pgx.BatchTracer.
func (e *exhaustion) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

// TraceBatchQuery implements pgx.BatchTracer.
func (e *exhaustion) TraceBatchQuery(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchQueryData) {
	e.record(d.Err)
}

// TraceBatchEnd implements pgx.BatchTracer.
func (e *exhaustion) TraceBatchEnd(_ context.Context, _ *pgx.Conn, d pgx.TraceBatchEndData) {
	e.record(d.Err)
}

// TraceConnectStart implements pgx.ConnectTracer.
func (e *exhaustion) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements pgx.ConnectTracer.
func (e *exhaustion) TraceConnectEnd(_ context.Context, d pgx.TraceConnectEndData) { e.record(d.Err) }
