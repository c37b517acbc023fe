package state

import (
	"context"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
)

// Channels of notifications (PostgreSQL manual, NOTIFY).
const (
	NamespaceEnded = "functions_namespace_ended" // a namespace was deprovisioned
	FeedsChanged   = "functions_feeds_changed"   // feeds of a namespace changed
)

// Notice is a notification; its payload is the name of a namespace. The zero Notice means
// that some may have been lost, so anything may have changed.
type Notice struct{ Channel, Payload string }

// relisten is the pause after a lost connection.
const relisten = time.Second

// Listen passes notifications of all channels to handle, one at a time and in order, until
// ctx ends. The first notice, and the first after a lost connection, is the zero Notice.
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

// listen uses a connection outside the pool, so that it takes none from the queries.
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
