package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services/database"
)

// endLockHolders ends the sessions that hold more locks than their plan allows. If the
// server's lock table is full, the server cannot tell whose sessions those are; then it
// ends the session that holds most.
func (b *backend) endLockHolders(ctx context.Context, plans []Plan, instances []instance, ended map[string]string) error {
	if len(instances) == 0 {
		return nil
	}
	err := b.guarded(ctx, "")
	if disconnected(err) {
		err = b.guarded(ctx, "")
	}
	guarded := explain("open the session that can empty the server's table of locks", err)
	const held = `(SELECT l.pid, pg_catalog.count(*) AS n FROM pg_catalog.pg_locks l WHERE NOT l.fastpath GROUP BY l.pid) h`
	err = b.endSessions(ctx, ended, "locks: a session that held more than the plan's %s locks was ended", `SELECT a.pid, a.datname, p.most
		FROM `+held+` JOIN pg_catalog.pg_stat_activity a ON a.pid = h.pid
		JOIN `+b.perDatabase(instances, func(p Plan) int64 { return int64(p.Locks) })+` ON p.datname = a.datname WHERE h.n > p.most`)
	if !is(err, pqerror.OutOfMemory) {
		return errors.Join(guarded, explain("end sessions that hold too many locks", err))
	}
	limit := 0
	for _, p := range plans {
		limit = max(limit, p.Locks)
	}
	err = b.guarded(ctx, `SELECT pg_catalog.pg_terminate_backend(h.pid) FROM (SELECT h.pid FROM `+held+`
		WHERE h.n > `+fmt.Sprint(limit)+` AND h.pid <> pg_catalog.pg_backend_pid() ORDER BY h.n DESC LIMIT 1) h`)
	return explain("end the session that fills the server's table of locks", err)
}

// endSpillers ends the sessions with larger temporary files than their plan allows.
func (b *backend) endSpillers(ctx context.Context, instances []instance, ended map[string]string) error {
	if len(instances) == 0 {
		return nil
	}
	err := b.endSessions(ctx, ended, "temporary files: a session that held more than the plan's %s was ended", `SELECT a.pid, a.datname, pg_catalog.pg_size_pretty(p.most::pg_catalog.int8)
		FROM (SELECT coalesce(w.leader_pid, w.pid) AS pid, pg_catalog.sum(f.size) AS bytes
			FROM pg_catalog.pg_ls_tmpdir() f JOIN pg_catalog.pg_stat_activity w ON f.name LIKE 'pgsql\_tmp' || w.pid || '.%' GROUP BY 1) t
		JOIN pg_catalog.pg_stat_activity a ON a.pid = t.pid AND a.usename <> a.datname || '_restore'
		JOIN `+b.perDatabase(instances, func(p Plan) int64 { return int64(p.TempFileLimit) })+` ON p.datname = a.datname WHERE p.most > 0 AND t.bytes > p.most`)
	return explain("end sessions with too large temporary files", err)
}

// endQueueHolder ends a session that keeps the server from emptying its queue of
// notifications, because it listens and stays in a transaction. PostgreSQL does not tell
// which sessions listen. Above 1 % of the queue it ends the session that has been idle
// in a transaction for longest, above 10 % the one with the oldest transaction.
func (b *backend) endQueueHolder(ctx context.Context, ended map[string]string) error {
	const usage = "(SELECT pg_catalog.pg_notification_queue_usage())"
	err := b.endSessions(ctx, ended, "notifications: the broker ended a session that had been in a transaction for longer than %s, because the server could not empty its queue",
		`SELECT a.pid, a.datname, '5 seconds' FROM pg_catalog.pg_stat_activity a
		WHERE a.datname ~ `+literal(b.names.single.String())+` AND a.xact_start < pg_catalog.clock_timestamp() - interval '5 seconds'
		AND (`+usage+` > 0.1 OR `+usage+` > 0.01 AND a.state LIKE 'idle in transaction%')
		AND a.usename NOT IN (CURRENT_USER, `+literal(b.backupRole())+`) ORDER BY a.xact_start LIMIT 1`)
	return explain("end a session that fills the server's queue of notifications", err)
}

// endSessions ends the sessions that a query returns, each with its database and its limit,
// except the administrator's, and those of superusers, which it may not end.
func (b *backend) endSessions(ctx context.Context, ended map[string]string, why, query string) error {
	return database.Query(ctx, b.pool, `SELECT e.datname, e.most, pg_catalog.pg_terminate_backend(e.pid) FROM (`+query+`) e (pid, datname, most)
		JOIN pg_catalog.pg_stat_activity a ON a.pid = e.pid `+endable, func(rows *sql.Rows) error {
		var name, most string
		var sent bool
		err := rows.Scan(&name, &most, &sent)
		ended[name] = fmt.Sprintf(why, most)
		return err
	})
}

// perDatabase is a table p of the instances' databases and a limit of their plans.
func (b *backend) perDatabase(instances []instance, limit func(Plan) int64) string {
	list := database.Joined(instances, func(inst instance) string {
		return fmt.Sprintf("(%s, %d)", literal(b.names.instance(inst.Name).database), limit(inst.Plan))
	})
	return "(VALUES " + list + ") p (datname, most)"
}

// guard is a session of the administrator that can end another session even if the server's
// lock table is full. The right to do so is in shared catalogs. Reading them takes places in
// the lock table, unless they are cached, and a change of the other session's role evicts
// them. So the guard stays in a transaction, which keeps its locks. It has no snapshot, and
// does not prevent VACUUM.
type guard struct {
	mu sync.Mutex
	s  *session
}

// guarded runs a query in the guard, and opens it first if necessary.
func (b *backend) guarded(ctx context.Context, query string) (err error) {
	g := b.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.s == nil {
		if g.s, err = b.openGuard(ctx); err != nil {
			return err
		}
	}
	err = g.s.Exec(ctx, "SAVEPOINT place", query, "RELEASE SAVEPOINT place")
	if err != nil && g.s.Exec(context.WithoutCancel(ctx), "ROLLBACK TO SAVEPOINT place", "RELEASE SAVEPOINT place") != nil {
		g.close()
	}
	return err
}

func (b *backend) openGuard(ctx context.Context) (*session, error) {
	c := b.admin.Clone()
	c.Runtime["idle_in_transaction_session_timeout"] = "0"
	s, err := dialSession(ctx, c)
	if err != nil {
		return nil, err
	}
	err = s.Exec(ctx, "BEGIN", "SELECT FROM pg_catalog.pg_roles r, pg_catalog.pg_auth_members m, pg_catalog.pg_database d, pg_catalog.pg_locks l LIMIT 0")
	if err != nil {
		s.Release(ctx)
		return nil, err
	}
	return s, nil
}

func (g *guard) close() {
	if g.s != nil {
		_ = g.s.Close()
		g.s = nil
	}
}
