package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx is a transaction that begins and commits with other statements in one round trip.
type Tx struct {
	*connection
	last  Batch
	after []func()
}

type connection = pgxpool.Conn

var _ pgx.Tx = (*Tx)(nil)

// BeginWith begins a transaction with the batch. If the batch fails, no transaction is open.
func (s *Store) BeginWith(ctx context.Context, b *Batch) (*Tx, error) {
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	tx := &Tx{connection: conn}
	if err := b.send(ctx, conn, "begin", ""); err != nil {
		return nil, errors.Join(err, tx.Rollback(context.WithoutCancel(ctx)))
	}
	return tx, nil
}

// Last adds the statements that f makes, as Batch.Collect takes them, to be sent with the
// commit. If one fails, nothing is committed.
func (t *Tx) Last(f func(DBTX) error) error { return t.last.Collect(f) }

// OnCommit adds what is called once the transaction is committed.
func (t *Tx) OnCommit(call func()) { t.after = append(t.after, call) }

// Commit implements pgx.Tx. After a commit it does nothing. If it fails, the caller rolls
// back.
func (t *Tx) Commit(ctx context.Context) error {
	if t.connection == nil {
		return nil
	}
	if err := t.last.send(ctx, t.connection, "", "commit"); err != nil {
		return err
	}
	t.release()
	for _, call := range t.after {
		call()
	}
	return nil
}

// Rollback implements pgx.Tx. After a commit it does nothing.
func (t *Tx) Rollback(ctx context.Context) error {
	if t.connection == nil {
		return nil
	}
	defer t.release()
	if t.connection.Conn().IsClosed() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, idleLimit)
	defer cancel()
	_, err := t.connection.Exec(ctx, "rollback")
	return err
}

// release gives the connection back to the pool, which closes it unless it is idle.
func (t *Tx) release() {
	t.connection.Release()
	t.connection = nil
}

// Begin implements pgx.Tx.
func (t *Tx) Begin(context.Context) (pgx.Tx, error) {
	return nil, errors.New("a transaction within a transaction is not implemented")
}

// Prepare implements pgx.Tx.
func (t *Tx) Prepare(ctx context.Context, name, sql string) (*pgconn.StatementDescription, error) {
	return t.Conn().Prepare(ctx, name, sql)
}

// LargeObjects implements pgx.Tx.
func (t *Tx) LargeObjects() pgx.LargeObjects { return pgx.LargeObjects{} }
