package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services/database"
)

// terminate returns the query that ends the sessions of roles.
func terminate(roles []string) string {
	return "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename IN (" + literals(roles) + ")"
}

func disableLogin(role string) string {
	return "ALTER ROLE " + ident(role) + " WITH NOLOGIN PASSWORD NULL"
}

// disableLogins disables logins as the roles and ends their sessions, before as well: an open
// transaction that changed the session's own role would block its change.
func (b *backend) disableLogins(ctx context.Context, s *session, roles []string) error {
	if len(roles) == 0 {
		return nil
	}
	statements := []string{terminate(roles)}
	for _, role := range roles {
		statements = append(statements, disableLogin(role))
	}
	err := b.insist(ctx, s, statements, terminate(roles))
	if is(err, pqerror.LockNotAvailable) {
		return database.SessionsEnding()
	}
	return explain("close the roles of bindings", err)
}

// databasesOf returns the databases in which a role owns anything or has any right.
// pg_shdepend lists objects under their database, and databases themselves under none.
func (s *session) databasesOf(ctx context.Context, role string) ([]string, error) {
	var databases []string
	err := s.Query(ctx, `SELECT DISTINCT d.datname FROM pg_catalog.pg_roles r
		JOIN pg_catalog.pg_shdepend s ON s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid
		JOIN pg_catalog.pg_database d ON d.oid = s.dbid
			OR (s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.oid = s.objid)
		WHERE r.rolname = `+literal(role), database.Into(&databases))
	return databases, explain("ask what the role holds", err)
}

// stripAtHome takes from a role without login all that it owns and was granted in its own
// instance's database. What it cannot take, because of a lock, a dependent object or a
// superuser's schema, is left to dropRoles and Reconcile.
func (b *backend) stripAtHome(ctx context.Context, s *session, st *state, role string) error {
	if st.Database == nil || st.Database.Owner != st.names.owner {
		return nil // it is removed with all that is in it
	}
	databases, err := s.databasesOf(ctx, role)
	if err != nil || !slices.Contains(databases, st.names.database) {
		return err
	}
	err = b.inDatabase(ctx, s, st.names.database, func(t *session) error { return t.strip(ctx, role, st.canWrite(role)) })
	if ctx.Err() == nil && refused(err) {
		return nil
	}
	return err
}

// dropRoles drops roles without login. A role that another session has locked, or to which
// something refers, such as a GRANT in another tenant's database, is set aside without
// memberships and under another name. It can do nothing, and Reconcile drops it later.
func (b *backend) dropRoles(ctx context.Context, s *session, st *state, roles ...string) error {
	err := s.transaction(ctx, briefly, "DROP ROLE IF EXISTS "+idents(roles))
	switch {
	case !is(err, pqerror.DependentObjectsStillExist, pqerror.LockNotAvailable):
		return explain("drop the roles", err)
	case len(roles) == 1:
		return b.setAside(ctx, s, st, roles[0])
	}
	for _, role := range roles {
		if err := b.dropRoles(ctx, s, st, role); err != nil {
			return err
		}
	}
	return nil
}

// briefly bounds the wait for a lock that anybody may hold.
const briefly = "SET LOCAL lock_timeout = '500ms'"

func (b *backend) setAside(ctx context.Context, s *session, st *state, role string) error {
	var statements []string
	err := s.Query(ctx, `SELECT pg_catalog.format('REVOKE %I FROM %I', g.rolname, m.rolname) FROM pg_catalog.pg_auth_members am
		JOIN pg_catalog.pg_roles g ON g.oid = am.roleid JOIN pg_catalog.pg_roles m ON m.oid = am.member
		WHERE `+literal(role)+` IN (g.rolname, m.rolname) AND m.rolname <> CURRENT_USER`, database.Into(&statements))
	if err != nil {
		return explain("ask for the role's memberships", err)
	}
	home := ""
	if st.canWrite(role) {
		home = st.names.database
	}
	statements = append(statements, disableLogin(role), "COMMENT ON ROLE "+ident(role)+" IS "+literal(revokedFrom(home)),
		"ALTER ROLE "+ident(role)+" RENAME TO "+ident(b.names.revokedRole(randomID())))
	return explain("set the role aside", b.insist(ctx, s, statements, ""))
}

// revokedFrom is the comment on a role that was set aside. It names the instance's
// database, home, if the role could write there: what it owns there is the instance's.
func revokedFrom(home string) string { return strings.TrimSpace("revoked " + home) }

// endOrphanedSessions ends sessions that outlived their roles, and releases the instance's
// lock. A session that was starting while the others were ended shows by its role, which is
// dropped or revoked, or, if it is not visible yet, by its lock on the database.
func (b *backend) endOrphanedSessions(ctx context.Context, s *session, st *state) error {
	name := literal(st.names.database)
	orphaned := `pg_catalog.pg_stat_activity a WHERE a.datname = ` + name + ` AND a.usesysid IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid AND r.rolname !~ ` + literal(b.names.revoked.String()) + `)`
	end := "pg_catalog.pg_terminate_backend(a.pid)"
	if st.Version >= 140000 {
		end = "pg_catalog.pg_terminate_backend(a.pid, 1000)" // waits for it to end
	}
	if err := s.Exec(ctx, "SELECT "+end+" FROM "+orphaned); err != nil {
		return explain("end the sessions", err)
	}
	var left int
	err := s.Query(ctx, `SELECT (SELECT pg_catalog.count(*) FROM `+orphaned+`) +
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l
			JOIN pg_catalog.pg_database d ON d.oid = l.objid AND d.datname = `+name+`
			WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid)); `+unlock,
		database.One(&left))
	if err != nil {
		return explain("look for sessions that are left", err)
	}
	s.Reset = ""
	if left > 0 {
		return database.SessionsEnding()
	}
	return nil
}

const (
	// revokedAtOnce is how many roles one round tries to drop, revokedTime how long it
	// starts with another one, and dropTime how long it works on one.
	revokedAtOnce = 20
	revokedTime   = 2 * time.Second
	dropTime      = stripTime + 5*time.Second
)

// dropSomeRevoked drops roles that were set aside, a few at a time and in random order, so
// that roles that cannot be dropped do not block the others.
func (b *backend) dropSomeRevoked(ctx context.Context) error {
	conn, err := b.pool.Conn(ctx)
	if err != nil {
		return explain("connect to the server", err)
	}
	s := &session{&database.Conn{Conn: conn}}
	defer s.Release(ctx)
	return b.dropRevoked(ctx, s, fmt.Sprint("ORDER BY pg_catalog.random() LIMIT ", revokedAtOnce))
}

// dropRevoked drops roles that were set aside; which selects them. It returns why roles stay.
func (b *backend) dropRevoked(ctx context.Context, s *session, which string) error {
	type revoked struct{ role, home string }
	var list []revoked
	err := s.Query(ctx, `SELECT rolname, coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles
		WHERE rolname ~ `+literal(b.names.revoked.String())+` `+which, func(rows *sql.Rows) error {
		var role, comment string
		err := rows.Scan(&role, &comment)
		list = append(list, revoked{role, strings.TrimPrefix(comment, revokedFrom("")+" ")})
		return err
	})
	if err != nil {
		return explain("list the revoked roles", err)
	}
	var faults []error
	for began := time.Now(); len(list) > 0 && time.Since(began) < revokedTime; list = list[1:] {
		if err := b.dropEverywhere(ctx, s, list[0].role, list[0].home); err != nil {
			faults = append(faults, fmt.Errorf("revoked role %s stays: %w", list[0].role, err))
		}
	}
	return errors.Join(faults...)
}

// dropEverywhere drops a role that was set aside, with all that it owns outside of home.
func (b *backend) dropEverywhere(ctx context.Context, s *session, role, home string) error {
	ctx, cancel := context.WithTimeout(ctx, dropTime)
	defer cancel()
	databases, err := s.databasesOf(ctx, role)
	if err != nil {
		return err
	}
	var faults []error
	for _, database := range databases {
		err := b.inDatabase(ctx, s, database, func(t *session) error { return t.strip(ctx, role, database == home) })
		faults = append(faults, explain("free what the role holds in database "+database, err))
	}
	faults = append(faults, explain("drop the role", s.transaction(ctx, briefly, "DROP ROLE IF EXISTS "+ident(role))))
	return errors.Join(faults...)
}
