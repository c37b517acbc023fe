package postgres

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

const (
	// patience is how long a tenant's session may block a change of roles or databases.
	patience = "SET LOCAL lock_timeout = '300ms'"
	// insistEvery is how often sessions that block it are ended after that.
	insistEvery = 50 * time.Millisecond
)

// insist is commit, and ends the sessions that block the statements. A tenant can change a
// role or grant rights on a database in a transaction that stays open, also in sessions of
// other roles or databases: by a SECURITY DEFINER function, or with a grant option.
func (b *backend) insist(ctx context.Context, s *session, statements []string, then string) error {
	err := s.commit(ctx, append([]string{patience}, statements...), then)
	if !is(err, pqerror.LockNotAvailable) {
		return err
	}
	var pid int
	if err := s.Query(ctx, "SELECT pg_catalog.pg_backend_pid()", database.One(&pid)); err != nil {
		return err
	}
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { b.endBlockers(watch, pid) })
	defer watching.Wait()
	defer stop()
	return s.commit(ctx, statements, then)
}

// endBlockers ends the sessions for which a process of the server waits, until ctx ends.
func (b *backend) endBlockers(ctx context.Context, pid int) {
	for ctx.Err() == nil {
		_ = b.execute(ctx, fmt.Sprintf(`SELECT pg_catalog.pg_terminate_backend(a.pid)
			FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%d)) h (pid)
			JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid `, pid)+endable) // an error shows in the statements, too
		select {
		case <-ctx.Done():
		case <-time.After(insistEvery):
		}
	}
}

// lockTime is how long the administrator waits for a lock in a tenant's database.
const lockTime = time.Second

// orNotYet does work in a database. NotYet names a session that holds a lock that it needs.
func (b *backend) orNotYet(ctx context.Context, database, doing string, work func() error) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	found := make(chan string, 1)
	go func() {
		select {
		case <-watch.Done():
			found <- ""
		case <-time.After(lockTime / 2):
			found <- b.blocker(watch, database)
		}
	}()
	err := work()
	if !is(err, pqerror.LockNotAvailable) {
		return err
	}
	stop()
	blocker := cmp.Or(<-found, "another session of the database")
	return services.NotYet(time.Second, fmt.Sprintf("%s: waiting for a lock held by %s; continues when that transaction ends", doing, blocker))
}

// blocker describes the session for which the administrator waits in a database, if any.
func (b *backend) blocker(ctx context.Context, database string) (description string) {
	err := b.pool.QueryRowContext(ctx, `SELECT pg_catalog.format('session %s of user %s (in a transaction since %s UTC)', h.pid, h.usename,
			pg_catalog.to_char(h.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'))
		FROM pg_catalog.pg_stat_activity w, LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b, pg_catalog.pg_stat_activity h
		WHERE w.datname = `+literal(database)+` AND w.usename = CURRENT_USER AND w.wait_event_type = 'Lock' AND h.pid = b
		AND h.usename IS NOT NULL AND h.xact_start IS NOT NULL ORDER BY h.xact_start LIMIT 1`).Scan(&description)
	if err != nil { // sql.ErrNoRows, or what the work itself will meet
		return ""
	}
	return description
}
