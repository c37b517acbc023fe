package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Batch collects queries that are sent to the database in one round trip and run in
// their order. An error of one keeps those behind it from running.
type Batch struct{ items []batched }

type batched struct {
	sql  string
	args []any
	read func(DBTX) error
}

// Result is what a query of a batch returned, once the batch was sent. Err is that of a
// query for one row that is not there, or nil.
type Result[R any] struct {
	Value R
	Err   error
}

// Read adds a query to the batch. query is called twice, to take its one statement and
// to scan what that returned.
func Read[R any](b *Batch, query func(DBTX) (R, error)) *Result[R] {
	var taken recorder
	_, _ = query(&taken)
	r := &Result[R]{}
	b.items = append(b.items, batched{taken.sql, taken.args, func(db DBTX) error {
		r.Value, r.Err = query(db)
		if NotFound(r.Err) {
			return nil
		}
		return r.Err
	}})
	return r
}

// Collect adds the statements that f makes. They are those whose result nobody asks for
// (":exec" in queries.sql). An error of f keeps all of them back.
func (b *Batch) Collect(f func(DBTX) error) error {
	collected := Batch{}
	if err := f(&collector{&collected}); err != nil {
		return err
	}
	b.items = append(b.items, collected.items...)
	return nil
}

// SendBatch sends the statements that f makes, as Collect takes them.
func SendBatch(ctx context.Context, tx pgx.Tx, f func(DBTX) error) error {
	var b Batch
	if err := b.Collect(f); err != nil {
		return err
	}
	return b.Send(ctx, tx)
}

// sender is a connection, a pool or a transaction.
type sender interface {
	SendBatch(ctx context.Context, b *pgx.Batch) pgx.BatchResults
}

// Send runs the batch.
func (b *Batch) Send(ctx context.Context, db sender) error { return b.send(ctx, db, "", "") }

func (b *Batch) send(ctx context.Context, db sender, before, after string) error {
	var all pgx.Batch
	if before != "" {
		all.Queue(before)
	}
	for _, item := range b.items {
		all.Queue(item.sql, item.args...)
	}
	if after != "" {
		all.Queue(after)
	}
	results := db.SendBatch(ctx, &all)
	err := b.read(results, before != "")
	return errors.Join(err, closed(results, err))
}

func (b *Batch) read(results pgx.BatchResults, begun bool) error {
	if begun {
		if _, err := results.Exec(); err != nil {
			return err
		}
	}
	for _, item := range b.items {
		if err := item.read(replay{results}); err != nil {
			return err
		}
	}
	return nil
}

// closed is the error of what was not read. After an error that is the same one.
func closed(results pgx.BatchResults, err error) error {
	if closing := results.Close(); err == nil {
		return closing
	}
	return nil
}

// recorder is a database that takes down one statement.
type recorder struct {
	sql  string
	args []any
}

var errRecorded = errors.New("the statement is recorded")

func (r *recorder) record(sql string, args []any) {
	if r.sql != "" {
		panic("a query of a batch has two statements") // a programmer's error
	}
	r.sql, r.args = sql, args
}

func (r *recorder) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	r.record(sql, args)
	return pgconn.CommandTag{}, nil
}

func (r *recorder) Query(_ context.Context, sql string, args ...any) (pgx.Rows, error) {
	r.record(sql, args)
	return nil, errRecorded
}

func (r *recorder) QueryRow(_ context.Context, sql string, args ...any) pgx.Row {
	r.record(sql, args)
	return noRow{errRecorded}
}

type noRow struct{ err error }

func (r noRow) Scan(...any) error { return r.err }

// collector is a database that takes down statements without results.
type collector struct{ *Batch }

var errNeedsResult = errors.New("a statement whose result is needed cannot be sent together with others")

func (c *collector) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	c.items = append(c.items, batched{sql, args, func(db DBTX) error {
		_, err := db.Exec(context.Background(), "")
		return err
	}})
	return pgconn.CommandTag{}, nil
}

func (c *collector) Query(context.Context, string, ...any) (pgx.Rows, error) {
	return nil, errNeedsResult
}

func (c *collector) QueryRow(context.Context, string, ...any) pgx.Row { return noRow{errNeedsResult} }

// replay is a database that answers each statement with the batch's next result.
type replay struct{ results pgx.BatchResults }

func (r replay) Exec(context.Context, string, ...any) (pgconn.CommandTag, error) {
	return r.results.Exec()
}

func (r replay) Query(context.Context, string, ...any) (pgx.Rows, error) { return r.results.Query() }

func (r replay) QueryRow(context.Context, string, ...any) pgx.Row { return r.results.QueryRow() }
