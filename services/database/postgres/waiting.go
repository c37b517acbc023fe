package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// lockTime is how long the administrator waits for a lock in a tenant's
// database.
const lockTime = time.Second

// orNotYet does work in a database. Where another session holds a lock that it
// needs, it returns NotYet, which names that session.
func (b *backend) orNotYet(ctx context.Context, database, doing string, work func() error) error {
	watch, stop := context.WithCancel(ctx)
	defer stop()
	found := make(chan string, 1)
	go func() {
		select {
		case <-watch.Done():
			found <- ""
		case <-time.After(lockTime / 2):
			found <- b.holder(watch, database)
		}
	}()
	err := work()
	if !is(err, lockNotAvailable) {
		return err
	}
	stop()
	holder := <-found
	if holder == "" {
		holder = "another session of the database"
	}
	return services.NotYet(time.Second, fmt.Sprintf("%s: waiting for a lock held by %s; continues when that transaction ends", doing, holder))
}

// holder describes the session that the administrator waits for in a database;
// empty where there is none.
func (b *backend) holder(ctx context.Context, database string) string {
	var pid int
	var user, since string
	err := b.pool.QueryRowContext(ctx, `SELECT h.pid, h.usename, pg_catalog.to_char(h.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
		FROM pg_catalog.pg_stat_activity w, LATERAL pg_catalog.unnest(pg_catalog.pg_blocking_pids(w.pid)) b, pg_catalog.pg_stat_activity h
		WHERE w.datname = `+literal(database)+` AND w.usename = CURRENT_USER AND w.wait_event_type = 'Lock' AND h.pid = b
		AND h.usename IS NOT NULL AND h.xact_start IS NOT NULL ORDER BY h.xact_start LIMIT 1`).Scan(&pid, &user, &since)
	if err != nil { // sql.ErrNoRows, or what the work itself will meet
		return ""
	}
	return fmt.Sprintf("session %d of user %s (in a transaction since %s UTC)", pid, user, since)
}
