package postgres

import (
	"context"
	"database/sql"
	"slices"
)

// grantee is the grantee of an access list's entry a, as REVOKE names it.
const grantee = `CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END`

// writingGrants are the statements that revoke the rights to write on relations, columns
// and schemas, each with the role that has to run it. DELETE is among the rights if a
// rule does something else in its place, with the rights of the table's owner.
const writingGrants = `SELECT c.relowner AS runner, ` + revokeOnRelation + ` AS statement
		FROM relations c, LATERAL pg_catalog.aclexplode(c.relacl) a WHERE ` + writes + `
	UNION SELECT c.relowner, ` + revokeOnRelation + `
		FROM relations c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid, LATERAL pg_catalog.aclexplode(t.attacl) a WHERE ` + writes + `
	UNION SELECT c.relowner, pg_catalog.format('REVOKE DELETE ON TABLE %I.%I FROM %s CASCADE', c.nspname, c.relname, ` + grantee + `)
		FROM relations c, LATERAL pg_catalog.aclexplode(c.relacl) a WHERE a.privilege_type = 'DELETE' AND a.grantee <> c.relowner
		AND EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '4')
	UNION SELECT n.owner, pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s CASCADE', n.nspname, ` + grantee + `)
		FROM schemas n, LATERAL pg_catalog.aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner`

const (
	revokeOnRelation = `pg_catalog.format('REVOKE INSERT, UPDATE, TRIGGER ON TABLE %I.%I FROM %s CASCADE', c.nspname, c.relname, ` + grantee + `)`
	writes           = `a.privilege_type IN ('INSERT', 'UPDATE', 'TRIGGER') AND a.grantee <> c.relowner AND c.relkind <> 'S'`
)

// definers are the statements that keep SECURITY DEFINER routines from writing, triggers
// included. The role "over" becomes the owner of the owner role's routines, which run
// with its rights until unlock gives them back. Other roles' routines must never become
// the owner role's: they become SECURITY INVOKER.
const definers = `SELECT p.proowner, CASE WHEN p.proowner <> i.owner
		THEN pg_catalog.format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::pg_catalog.regprocedure)
		ELSE pg_catalog.format(CASE WHEN pg_catalog.has_schema_privilege(i.over, n.oid, 'CREATE') THEN '%1$s'
			ELSE 'GRANT CREATE ON SCHEMA %2$I TO %3$I; %1$s; REVOKE CREATE ON SCHEMA %2$I FROM %3$I' END,
			pg_catalog.format('ALTER ROUTINE %s OWNER TO %I', p.oid::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(i.over)),
			n.nspname, pg_catalog.pg_get_userbyid(i.over)) END
	FROM instance i, pg_catalog.pg_proc p JOIN schemas n ON n.oid = p.pronamespace WHERE p.prosecdef AND p.proowner NOT IN (i.over, i.sessions)`

// freeze takes from everybody whatever would let a session write in a full database.
// Tenants cannot write with what superusers own, such as the objects of most extensions.
// From PostgreSQL 15 on, pg_database_owner owns schema public, which is the owner role
// here.
func (s *session) freeze(ctx context.Context, n names) error {
	query := `WITH instance AS (SELECT o.oid AS owner, v.oid AS over, coalesce(s.oid, 0) AS sessions
			FROM pg_catalog.pg_roles o JOIN pg_catalog.pg_roles v ON v.rolname = ` + literal(n.over) + `
			LEFT JOIN pg_catalog.pg_roles s ON s.rolname = ` + literal(n.sessions) + ` WHERE o.rolname = ` + literal(n.owner) + `),
		schemas AS (SELECT n.*, CASE pg_catalog.pg_get_userbyid(n.nspowner) WHEN 'pg_database_owner' THEN i.owner ELSE n.nspowner END AS owner
			FROM instance i, pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
		relations AS (SELECT c.oid, c.relname, c.relowner, c.relacl, c.relkind, n.nspname FROM pg_catalog.pg_class c JOIN schemas n ON n.oid = c.relnamespace)
		SELECT r.rolname, w.statement FROM (` + writingGrants + ` UNION ALL ` + definers + `) w (runner, statement)
		JOIN pg_catalog.pg_roles r ON r.oid = w.runner AND NOT r.rolsuper`
	runners, statements := []string{n.owner, n.over}, []string(nil)
	err := s.query(ctx, query, func(rows *sql.Rows) error {
		var runner, statement string
		err := rows.Scan(&runner, &statement)
		if !slices.Contains(runners, runner) {
			runners = append(runners, runner)
		}
		statements = append(statements, statement)
		return err
	})
	if err != nil {
		return err
	}
	for some := range slices.Chunk(statements, batch) {
		if err := s.acting(ctx, runners, some...); err != nil {
			return err
		}
	}
	return nil
}
