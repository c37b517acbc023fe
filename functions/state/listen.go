package state

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Channels of notifications (PostgreSQL manual, NOTIFY).
const (
	// NamespaceEnded tells that a namespace was deprovisioned; the payload is its
	// name.
	NamespaceEnded = "functions_namespace_ended"
	// FeedsChanged tells that feeds of a namespace were made, changed or
	// removed; the payload is its name.
	FeedsChanged = "functions_feeds_changed"
)

// Notice is a notification. The zero Notice says that some may have been lost:
// whatever can change may have changed.
type Notice struct{ Channel, Payload string }

// relisten is the pause after a connection was lost.
const relisten = time.Second

// Listen hands notifications of all channels to handle, one at a time and in their
// order, until ctx ends. The first notice, and the first after a lost connection,
// is the zero one.
func (s *Store) Listen(ctx context.Context, logger *slog.Logger, handle func(Notice)) {
	for {
		err := s.listen(ctx, handle)
		if ctx.Err() != nil {
			return
		}
		logger.WarnContext(ctx, "notifications of the functions database lost", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(relisten):
		}
	}
}

// listen has a connection of its own, beside the pool: it would be missed there.
func (s *Store) listen(ctx context.Context, handle func(Notice)) error {
	conn, err := pgx.ConnectConfig(ctx, s.Pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for _, channel := range []string{NamespaceEnded, FeedsChanged} {
		if _, err := conn.Exec(ctx, "listen "+channel); err != nil {
			return err
		}
	}
	handle(Notice{})
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		handle(Notice{n.Channel, n.Payload})
	}
}
