package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Tx is a transaction that begins and commits with other statements in one round trip.
type Tx struct {
	pgx.Tx
	conn  *pgxpool.Conn // nil after the end
	last  Batch
	after []func()
}

// BeginWith begins a transaction with the batch. If the batch fails, no transaction is open.
func (s *Store) BeginWith(ctx context.Context, b *Batch) (*Tx, error) {
	conn, err := s.Pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	var all pgx.Batch
	all.BeginTx(pgx.TxOptions{})
	all.QueuedQueries = append(all.QueuedQueries, b.QueuedQueries...)
	results := conn.SendBatch(ctx, &all)
	tx := &Tx{Tx: results.Tx(), conn: conn}
	if err := results.Close(); err != nil {
		_ = tx.Rollback(context.WithoutCancel(ctx))
		return nil, err
	}
	return tx, nil
}

// InTx runs f in a transaction that is committed when f returns nil.
func (s *Store) InTx(ctx context.Context, f func(*Tx) error) error {
	return s.InTxWith(ctx, &Batch{}, f)
}

// InTxWith is InTx for a transaction that begins with a batch.
func (s *Store) InTxWith(ctx context.Context, first *Batch, f func(*Tx) error) error {
	tx, err := s.BeginWith(ctx, first)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := f(tx); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// Last adds the statements that f makes, as Batch.Collect takes them, to be sent with the
// commit. If one fails, nothing is committed.
func (t *Tx) Last(f func(DBTX) error) error { return t.last.Collect(f) }

// OnCommit adds a function to call once the transaction is committed.
func (t *Tx) OnCommit(call func()) { t.after = append(t.after, call) }

// Commit implements pgx.Tx. After a commit it does nothing. If it fails, the caller rolls
// back.
func (t *Tx) Commit(ctx context.Context) error {
	if t.conn == nil {
		return nil
	}
	t.last.Queue("commit").Exec(func(tag pgconn.CommandTag) error {
		if tag.String() == "ROLLBACK" { // an earlier statement failed
			return pgx.ErrTxCommitRollback
		}
		return nil
	})
	if err := t.last.Send(ctx, t.conn); err != nil {
		return err
	}
	t.release()
	for _, call := range t.after {
		call()
	}
	return nil
}

// Rollback implements pgx.Tx. After the transaction's end it does nothing.
func (t *Tx) Rollback(ctx context.Context) error {
	if t.conn == nil {
		return nil
	}
	defer t.release()
	if conn := t.conn.Conn(); conn.IsClosed() || conn.PgConn().TxStatus() == idle {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, idleLimit)
	defer cancel()
	return t.Tx.Rollback(ctx)
}

// idle is the status of a connection that is in no transaction: the server began none, or
// has ended it.
const idle = 'I'

// release gives the connection back to the pool, which closes it unless it is idle.
func (t *Tx) release() {
	t.conn.Release()
	t.conn = nil
}
