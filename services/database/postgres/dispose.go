package postgres

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// cut returns the query that ends the sessions of roles.
func cut(roles []string) string {
	return "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE usename IN (" + literals(roles) + ")"
}

// dispose removes roles with all that depends on them. Where one of them holds
// something in a database, the database's own owner gets what it owned there
// and what it was granted there is revoked; the database may be another
// tenant's, who named a role that is not his in a GRANT.
func (b *backend) dispose(ctx context.Context, s *session, roles []string) error {
	strip := func(ctx context.Context, t *session, holders []string) error { return t.strip(ctx, holders) }
	if err := b.eachHeld(ctx, s, roles, strip); err != nil {
		return err
	}
	drop := "DROP ROLE IF EXISTS " + idents(roles)
	err := s.transaction(ctx, drop)
	if is(err, dependentObjects) {
		if err := b.eachHeld(ctx, s, roles, b.stripDelegates); err != nil {
			return err
		}
		err = s.transaction(ctx, drop)
	}
	return explain("drop the roles", err)
}

// eachHeld does work in each database that one of the roles holds something in.
func (b *backend) eachHeld(ctx context.Context, s *session, roles []string, work func(context.Context, *session, []string) error) error {
	held, err := s.holding(ctx, roles)
	if err != nil {
		return explain("look for what the roles hold", err)
	}
	for database, holders := range held {
		err := b.inside(ctx, s, database, func(t *session) error { return work(ctx, t, holders) })
		if err != nil {
			return explain("free what the roles hold in "+database, err)
		}
	}
	return nil
}

// holding returns which of the roles hold something in which database.
func (s *session) holding(ctx context.Context, roles []string) (map[string][]string, error) {
	query := `SELECT r.rolname, d.datname FROM pg_catalog.pg_roles r, LATERAL (SELECT DISTINCT d.datname ` + dependents + `) d
		WHERE r.rolname IN (` + literals(roles) + `)`
	held := map[string][]string{}
	err := s.query(ctx, query, func(rows *sql.Rows) error {
		var role, database string
		err := rows.Scan(&role, &database)
		held[database] = append(held[database], role)
		return err
	})
	return held, err
}

// dependents selects the databases d that hold something of role r's.
// pg_shdepend has things in a database under that database, and databases
// themselves under none.
const dependents = `FROM pg_catalog.pg_shdepend s
	JOIN pg_catalog.pg_database d ON d.oid = s.dbid
		OR (s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.oid = s.objid)
	WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid`

// strip takes from roles all they own and were granted in this database.
func (s *session) strip(ctx context.Context, roles []string) error {
	var owner string
	err := s.query(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
		WHERE datname = pg_catalog.current_database()`, func(rows *sql.Rows) error { return rows.Scan(&owner) })
	if err != nil {
		return err
	}
	return s.transaction(ctx, append(append([]string{join(append(roles, owner)...)},
		stripped(roles, owner)...), leave(append(roles, owner)...))...)
}

func stripped(roles []string, owner string) []string {
	return []string{
		"REASSIGN OWNED BY " + idents(roles) + " TO " + ident(owner),
		"DROP OWNED BY " + idents(roles),
	}
}

// stripDelegates takes all they were granted in this database from those who
// may have passed it on to the roles. DROP OWNED BY a role leaves what others
// than the database's owner granted to it; taken from those others, it goes
// with that. Only a tenant who gave somebody the grant option gets here.
func (b *backend) stripDelegates(ctx context.Context, s *session, roles []string) error {
	var delegates, members []string
	var owner string
	err := s.query(ctx, `SELECT DISTINCT r.rolname, pg_catalog.pg_get_userbyid(d.datdba),
			EXISTS (SELECT FROM pg_catalog.pg_auth_members am WHERE am.roleid = d.datdba AND am.member = r.oid)
		FROM pg_catalog.pg_database d, pg_catalog.pg_shdepend s
		JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
		WHERE d.datname = pg_catalog.current_database() AND s.deptype = 'a'
		AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
		AND (s.dbid = d.oid OR s.dbid = 0 AND s.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND s.objid = d.oid)
		AND (r.rolname ~ `+literal(b.names.single.String())+` OR r.rolname ~ `+literal(b.names.grouped.String())+`)
		AND r.rolname NOT IN (`+literals(roles)+`) AND r.oid <> d.datdba`,
		func(rows *sql.Rows) error {
			var name string
			var member bool
			err := rows.Scan(&name, &owner, &member)
			delegates = append(delegates, name)
			if member {
				members = append(members, name)
			}
			return err
		})
	if err != nil || len(delegates) == 0 {
		return err
	}
	return s.transaction(ctx, b.withoutGrantOptions(owner, delegates, members)...)
}

// withoutGrantOptions returns the statements that take from delegates what they
// were granted. A member of the owner role counts as having the grant option
// whatever is revoked, so the members leave it for the transaction. A group
// role that is among the delegates owns another tenant's database, which must
// not be reassigned: only bindings' roles are.
func (b *backend) withoutGrantOptions(owner string, delegates, members []string) []string {
	all := append(slices.Clone(delegates), owner)
	statements := []string{join(all...)}
	if len(members) > 0 {
		statements = append(statements, "REVOKE "+ident(owner)+" FROM "+idents(members))
	}
	bindings := slices.DeleteFunc(slices.Clone(delegates), func(role string) bool { _, is := b.names.instanceOf(role); return !is })
	if len(bindings) > 0 {
		statements = append(statements, "REASSIGN OWNED BY "+idents(bindings)+" TO "+ident(owner))
	}
	statements = append(statements, "DROP OWNED BY "+idents(delegates))
	if len(members) > 0 {
		statements = append(statements, "GRANT "+ident(owner)+" TO "+idents(members))
	}
	return append(statements, leave(all...))
}

// finish makes sure that no session outlives its role: one that was being set
// up while the others were cut is found here by its role being gone, or, where
// it is not to be seen yet, by its lock on the database. It gives the
// instance's lock back.
func (b *backend) finish(ctx context.Context, s *session, st *state) error {
	end := "pg_catalog.pg_terminate_backend(a.pid)"
	if st.Version >= 140000 {
		end = "pg_catalog.pg_terminate_backend(a.pid, 1000)" // waits for it to end
	}
	if err := s.exec(ctx, "SELECT "+end+" FROM "+orphaned(st.names.database)); err != nil {
		return explain("end the sessions", err)
	}
	var left int
	err := s.query(ctx, `SELECT (SELECT pg_catalog.count(*) FROM `+orphaned(st.names.database)+`) +
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks l
			JOIN pg_catalog.pg_database d ON d.oid = l.objid AND d.datname = `+literal(st.names.database)+`
			WHERE l.locktype = 'object' AND l.classid = 'pg_catalog.pg_database'::pg_catalog.regclass
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid)); `+unlock,
		func(rows *sql.Rows) error { return rows.Scan(&left) })
	if err != nil {
		return explain("look for sessions that are left", err)
	}
	if left > 0 {
		return services.NotYet(200*time.Millisecond, "sessions are being ended")
	}
	return nil
}

// orphaned selects the sessions in a database whose role is gone.
func orphaned(database string) string {
	return `pg_catalog.pg_stat_activity a WHERE a.datname = ` + literal(database) + ` AND a.usesysid IS NOT NULL
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid = a.usesysid)`
}
