package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Together sends the statements that f makes to the database in one round trip,
// in their order. They are those whose result nobody asks for (":exec" in
// queries.sql); their errors are Together's, and f's own keeps all of them back.
func Together(ctx context.Context, tx pgx.Tx, f func(DBTX) error) error {
	var b batch
	if err := f(&b); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b.Batch).Close()
}

// batch is a database that collects statements.
type batch struct{ pgx.Batch }

var errNeedsResult = errors.New("a statement whose result is needed cannot be sent together with others")

func (b *batch) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	b.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

func (b *batch) Query(context.Context, string, ...any) (pgx.Rows, error) { return nil, errNeedsResult }

func (b *batch) QueryRow(context.Context, string, ...any) pgx.Row { return noRow{} }

type noRow struct{}

func (noRow) Scan(...any) error { return errNeedsResult }
