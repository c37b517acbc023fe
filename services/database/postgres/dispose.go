package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// cut returns the query that ends the sessions of roles.
func cut(roles []string) string {
	return "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename IN (" + literals(roles) + ")"
}

// closed returns the statement that lets nobody log in as a role.
func closed(role string) string { return "ALTER ROLE " + ident(role) + " WITH NOLOGIN PASSWORD NULL" }

// closeRoles disables logins as the roles and ends their sessions. It ends them first as
// well: a session that changed its own role in an open transaction would block the
// change of that role.
func (b *backend) closeRoles(ctx context.Context, s *session, roles []string) error {
	if len(roles) == 0 {
		return nil
	}
	statements := []string{cut(roles)}
	for _, role := range roles {
		statements = append(statements, closed(role))
	}
	err := b.insist(ctx, s, statements, []string{cut(roles)})
	if is(err, pqerror.LockNotAvailable) {
		return services.NotYet(200*time.Millisecond, "sessions are being ended")
	}
	return explain("close the roles of bindings", err)
}

// dependents selects the databases d that hold something of role r's. pg_shdepend lists
// objects under their database, and databases themselves under none.
const dependents = `FROM pg_catalog.pg_shdepend s
	JOIN pg_catalog.pg_database d ON d.oid = s.dbid
		OR (s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.oid = s.objid)
	WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid`

// holding returns the databases in which a role owns anything or has any right.
func (s *session) holding(ctx context.Context, role string) ([]string, error) {
	var databases []string
	err := s.query(ctx, `SELECT DISTINCT d.datname FROM pg_catalog.pg_roles r, LATERAL (SELECT d.datname `+dependents+`) d
		WHERE r.rolname = `+literal(role), database.Into(&databases))
	return databases, explain("ask what the role holds", err)
}

// stripAtHome takes from a closed role all that it owns and was granted in its own
// instance's database. What it cannot take, because of a lock, a dependent object or a
// superuser's schema, is left to drop: a role that is set aside can do nothing, and
// Reconcile tries again.
func (b *backend) stripAtHome(ctx context.Context, s *session, st *state, role string) error {
	if st.Database == nil || st.Database.Owner != st.names.owner {
		return nil // it is removed with all that is in it
	}
	databases, err := s.holding(ctx, role)
	if err != nil || !slices.Contains(databases, st.names.database) {
		return err
	}
	err = b.inside(ctx, s, st.names.database, func(t *session) error { return t.strip(ctx, role, st.writes(role)) })
	if ctx.Err() == nil && refused(err) {
		return nil
	}
	return err
}

// drop removes closed roles. A role that another session has locked, or to which
// something refers, such as a GRANT in another tenant's database, is set aside: without
// a login, without memberships and under another name. It can do nothing, and Reconcile
// drops it as soon as possible.
func (b *backend) drop(ctx context.Context, s *session, st *state, roles ...string) error {
	err := s.transaction(ctx, briefly, "DROP ROLE IF EXISTS "+idents(roles))
	switch {
	case !is(err, pqerror.DependentObjectsStillExist, pqerror.LockNotAvailable):
		return explain("drop the roles", err)
	case len(roles) == 1:
		return b.setAside(ctx, s, st, roles[0])
	}
	for _, role := range roles {
		if err := b.drop(ctx, s, st, role); err != nil {
			return err
		}
	}
	return nil
}

// briefly bounds the wait for a lock that anybody may hold.
const briefly = "SET LOCAL lock_timeout = '500ms'"

func (b *backend) setAside(ctx context.Context, s *session, st *state, role string) error {
	name := b.names.setAside()
	var statements []string
	err := s.query(ctx, `SELECT pg_catalog.format('REVOKE %I FROM %I', g.rolname, m.rolname) FROM pg_catalog.pg_auth_members am
		JOIN pg_catalog.pg_roles g ON g.oid = am.roleid JOIN pg_catalog.pg_roles m ON m.oid = am.member
		WHERE `+literal(role)+` IN (g.rolname, m.rolname) AND m.rolname <> CURRENT_USER`, database.Into(&statements))
	if err != nil {
		return explain("ask for the role's memberships", err)
	}
	home := ""
	if st.writes(role) {
		home = st.names.database
	}
	statements = append(statements, closed(role), "COMMENT ON ROLE "+ident(role)+" IS "+literal(revokedFrom(home)),
		"ALTER ROLE "+ident(role)+" RENAME TO "+ident(name))
	return explain("set the role aside", b.insist(ctx, s, statements, nil))
}

// finish makes sure that no session outlives its role. A session that was starting while
// the others were ended shows here, because its role is gone or revoked, or, if it is
// not visible yet, by its lock on the database. finish releases the instance's lock.
func (b *backend) finish(ctx context.Context, s *session, st *state) error {
	end := "pg_catalog.pg_terminate_backend(a.pid)"
	if st.Version >= 140000 {
		end = "pg_catalog.pg_terminate_backend(a.pid, 1000)" // waits for it to end
	}
	if err := s.exec(ctx, "SELECT "+end+" FROM "+b.orphaned(st.names.database)); err != nil {
		return explain("end the sessions", err)
	}
	var left int
	err := s.query(ctx, `SELECT (SELECT pg_catalog.count(*) FROM `+b.orphaned(st.names.database)+`) +
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l
			JOIN pg_catalog.pg_database d ON d.oid = l.objid AND d.datname = `+literal(st.names.database)+`
			WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid)); `+unlock,
		database.One(&left))
	if err != nil {
		return explain("look for sessions that are left", err)
	}
	s.locks = false
	if left > 0 {
		return services.NotYet(200*time.Millisecond, "sessions are being ended")
	}
	return nil
}

// orphaned selects the sessions in a database whose role is gone or revoked.
func (b *backend) orphaned(database string) string {
	return `pg_catalog.pg_stat_activity a WHERE a.datname = ` + literal(database) + ` AND a.usesysid IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid AND r.rolname !~ ` + literal(b.names.revoked.String()) + `)`
}
