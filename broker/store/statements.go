package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// SendBatch sends the statements that f makes to the database in one round trip,
// in their order. They are those whose result nobody asks for (":exec" in
// queries.sql); their errors are SendBatch's, and f's own keeps all of them back.
func SendBatch(ctx context.Context, tx pgx.Tx, f func(DBTX) error) error {
	var b statements
	if err := f(&b); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b.Batch).Close()
}

// statements is a database that collects statements.
type statements struct{ pgx.Batch }

var errNeedsResult = errors.New("a statement whose result is needed cannot be sent together with others")

func (b *statements) Exec(_ context.Context, sql string, args ...any) (pgconn.CommandTag, error) {
	b.Queue(sql, args...)
	return pgconn.CommandTag{}, nil
}

func (b *statements) Query(context.Context, string, ...any) (pgx.Rows, error) {
	return nil, errNeedsResult
}

func (b *statements) QueryRow(context.Context, string, ...any) pgx.Row { return noRow{} }

type noRow struct{}

func (noRow) Scan(...any) error { return errNeedsResult }
