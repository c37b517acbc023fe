package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Batch collects statements that are sent to the database in one round trip and run in
// their order. After one that fails, the others do not run.
type Batch struct{ pgx.Batch }

// Result is what a query of a batch returned, once the batch was sent. Err is
// pgx.ErrNoRows if the query for one row found none, else nil.
type Result[R any] struct {
	Value R
	Err   error
}

// Read adds a query to the batch. query is a method of Queries, or a function that calls
// one of them. It is called twice: to record its statement, and to scan the result.
func Read[A, R any](ctx context.Context, b *Batch, query func(context.Context, DBTX, A) (R, error), arg A) *Result[R] {
	n := b.Len()
	_, _ = query(ctx, recorder{b}, arg)
	if b.Len() != n+1 {
		panic("a query of a batch must have one statement") // a programmer's error
	}
	r := &Result[R]{}
	b.QueuedQueries[n].Fn = func(results pgx.BatchResults) error {
		if r.Value, r.Err = query(ctx, replay{results}, arg); NotFound(r.Err) {
			return nil
		}
		return r.Err
	}
	return r
}

// Collect adds the statements that f makes. Their results must not matter: they are
// ":exec" in queries.sql. If f fails, Collect adds none.
func (b *Batch) Collect(f func(DBTX) error) error {
	n := b.Len()
	err := f(recorder{b})
	if err != nil {
		b.QueuedQueries = b.QueuedQueries[:n]
	}
	return err
}

// Send runs the batch, on a connection, a pool or a transaction.
func (b *Batch) Send(ctx context.Context, db interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}) error {
	return db.SendBatch(ctx, &b.Batch).Close()
}

// recorder is a database that adds statements to a batch instead of running them.
type recorder struct{ *Batch }

var errNeedsResult = errors.New("a statement whose result is needed cannot be sent together with others")

func (r recorder) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	r.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

func (r recorder) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	r.Queue(sql, args...)
	return nil, errNeedsResult
}

func (r recorder) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	r.Queue(sql, args...)
	return noRow{}
}

type noRow struct{}

func (noRow) Scan(...any) error { return errNeedsResult }

// replay is a database that answers each statement with the batch's next result.
type replay struct{ results pgx.BatchResults }

func (r replay) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return r.results.Exec()
}

func (r replay) Query(context.Context, string, ...any) (pgx.Rows, error) { return r.results.Query() }

func (r replay) QueryRow(context.Context, string, ...any) pgx.Row { return r.results.QueryRow() }
