package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

const (
	// patience is how long a tenant's session may hold up what concerns roles and
	// databases as such.
	patience = "SET LOCAL lock_timeout = '300ms'"
	// insistEvery is how often the sessions that hold it up are ended after that.
	insistEvery = 50 * time.Millisecond
)

// insist is commit, and ends the sessions that hold the statements up. A tenant can
// change a role of his or grant rights on his database in a transaction that he
// leaves open, and not only in sessions of that role or in that database: a SECURITY
// DEFINER function acts as the role, and a right may come with its grant option.
func (b *backend) insist(ctx context.Context, s *session, statements, then []string) error {
	err := s.commit(ctx, append([]string{patience}, statements...), then)
	if !is(err, lockNotAvailable) {
		return err
	}
	var pid int
	if err := s.query(ctx, "SELECT pg_catalog.pg_backend_pid()", func(rows *sql.Rows) error { return rows.Scan(&pid) }); err != nil {
		return err
	}
	watch, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.endBlockers(watch, pid)
	}()
	defer func() { stop(); <-ended }()
	return s.commit(ctx, statements, then)
}

// endBlockers ends whatever sessions the one of this process waits for, until ctx
// ends. The administrator's own stay, and those of superusers, which it may not end.
func (b *backend) endBlockers(ctx context.Context, pid int) {
	for ctx.Err() == nil {
		_, _ = b.pool.ExecContext(ctx, fmt.Sprintf(`SELECT pg_catalog.pg_terminate_backend(a.pid)
			FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%d)) h (pid)
			JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
			JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper AND r.rolname <> CURRENT_USER`, pid)) // the statements meet what keeps it from that
		select {
		case <-ctx.Done():
		case <-time.After(insistEvery):
		}
	}
}
