package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// sweeper deletes activations that their plans no longer retain. One runtime at a time
// does so.
type sweeper struct {
	store  *state.Store
	logger *slog.Logger
}

const (
	sweepEvery = time.Minute
	// sweptAtOnce is how many namespaces one statement examines, and how many
	// activations it deletes.
	sweptAtOnce = 1000
	// sweepLock is any number that no other lock in this database uses.
	sweepLock = 7_241_135_006
	// rowBytes is about what an activation takes besides its result and logs: its row
	// and index entries.
	rowBytes = 500
)

func (s sweeper) run(ctx context.Context) {
	// Twice the interval: another runtime may have swept last.
	if err := s.sweep(ctx, 2*sweepEvery); err != nil && ctx.Err() == nil {
		s.logger.WarnContext(ctx, "activations not swept", "error", err.Error())
	}
}

// sweep deletes what is too old in all namespaces, and what is too much in those that
// were called recently.
func (s sweeper) sweep(ctx context.Context, last time.Duration) error {
	conn, err := s.store.Pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var mine bool
	if err := conn.QueryRow(ctx, "select pg_try_advisory_lock($1)", sweepLock).Scan(&mine); err != nil || !mine {
		return err
	}
	defer func() {
		if _, err := conn.Exec(context.WithoutCancel(ctx), "select pg_advisory_unlock($1)", sweepLock); err != nil {
			_ = conn.Conn().Close(context.WithoutCancel(ctx)) // the lock goes with the connection
		}
	}()
	after := ""
	for {
		rows, err := s.store.NamespaceNames(ctx, conn, state.NamespaceNamesParams{After: after, Batch: sweptAtOnce})
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := s.sweepSome(ctx, conn.Conn(), rows, last); err != nil {
			return err
		}
		after = rows[len(rows)-1]
	}
}

func (s sweeper) sweepSome(ctx context.Context, conn *pgx.Conn, names []string, last time.Duration) error {
	for {
		n, err := s.store.ExpireActivations(ctx, conn, state.ExpireActivationsParams{Names: names, Batch: sweptAtOnce})
		if err != nil {
			return err
		}
		if n < sweptAtOnce {
			break
		}
	}
	active, err := s.store.ActiveNamespaces(ctx, conn, state.ActiveNamespacesParams{Names: names, Seconds: last.Seconds()})
	if err != nil {
		return err
	}
	for _, a := range active {
		_, err := s.store.TrimActivations(ctx, conn, state.TrimActivationsParams{Namespace: a.Name, Bytes: a.ActivationBytes, Overhead: rowBytes})
		if err != nil {
			return err
		}
	}
	return nil
}
