package postgres

import (
	"context"
	"database/sql"
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
	held, err := s.holding(ctx, roles)
	if err != nil {
		return explain("look for what the roles hold", err)
	}
	for database, holders := range held {
		if err := b.inside(ctx, s, database, func(t *session) error { return t.strip(ctx, holders) }); err != nil {
			return explain("free what the roles hold in "+database, err)
		}
	}
	return explain("drop the roles", s.transaction(ctx, "DROP ROLE IF EXISTS "+idents(roles)))
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
