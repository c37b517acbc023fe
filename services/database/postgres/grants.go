package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services/database"
)

// overQuotaRights are those on the tables of a full database.
func overQuotaRights(version int) string {
	if version >= 170000 {
		return "SELECT, DELETE, TRUNCATE, MAINTAIN" // for VACUUM FULL
	}
	return "SELECT, DELETE, TRUNCATE"
}

// makeReader makes the reader role and grants the rights that it lacks.
func (b *backend) makeReader(ctx context.Context, s *session, st *state) error {
	n := st.names
	if !slices.Contains(st.Database.Guests, n.reader) {
		statements := append(st.createGroup(n.reader), st.asOwner("GRANT CONNECT ON DATABASE "+ident(n.database)+" TO "+ident(n.reader))...)
		if err := s.transaction(ctx, statements...); err != nil {
			return explain("make the reader role", err)
		}
	}
	return b.inDatabase(ctx, s, n.database, func(t *session) error {
		return b.orNotYet(ctx, n.database, "grant read_only bindings their rights", func() error {
			return explain("give the reader role its rights", t.grantAll(ctx, n.owner, n.reader, "SELECT"))
		})
	})
}

// grantAll grants a group role rights on the tables that the owner role owns in this database
// and, by default privileges, will own, and the right to read views and sequences. A grant
// waits for other transactions that changed the object, so that only missing rights are
// granted. The default privileges come first, and cover objects that are made between the two.
func (s *session) grantAll(ctx context.Context, owner, group, tables string) error {
	for _, query := range []string{missingDefaults(owner, group, tables), missingGrants(owner, group, tables)} {
		var statements []string
		err := s.Query(ctx, query, database.Into(&statements))
		for i := range statements {
			statements[i] += " TO " + ident(group)
		}
		if err == nil && len(statements) > 0 {
			err = s.runAs(ctx, []string{owner}, statements...)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lacks is the condition that an access list does not grant a group role all rights.
func lacks(acl, group, rights string) string {
	wanted := strings.Split(rights, ", ")
	return fmt.Sprintf(`(SELECT pg_catalog.count(DISTINCT a.privilege_type) FROM pg_catalog.aclexplode(%s) a
		JOIN pg_catalog.pg_roles g ON g.oid = a.grantee AND g.rolname = %s WHERE a.privilege_type IN (%s)) < %d`,
		acl, literal(group), literals(wanted), len(wanted))
}

// missingDefaults selects the beginnings of statements for missing default privileges.
func missingDefaults(owner, group, tables string) string {
	missing := func(kind, rights, objects string) string {
		return `SELECT ` + literal("ALTER DEFAULT PRIVILEGES FOR ROLE "+ident(owner)+" GRANT "+rights+" ON "+objects) + ` WHERE ` +
			lacks(`(SELECT d.defaclacl FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole
				WHERE o.rolname = `+literal(owner)+` AND d.defaclnamespace = 0 AND d.defaclobjtype = '`+kind+`')`, group, rights)
	}
	return missing("r", tables, "TABLES") + " UNION ALL " + missing("S", "SELECT", "SEQUENCES") + " UNION ALL " + missing("n", "USAGE", "SCHEMAS")
}

// missingGrants selects the beginnings of statements for missing rights. From PostgreSQL 15 on,
// pg_database_owner owns schema public, which is the owner role here.
func missingGrants(owner, group, tables string) string {
	relations := func(kinds, rights, what string) string {
		return `SELECT ` + literal("GRANT "+rights+" ON "+what+" ") + ` || pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', ')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN (` + kinds + `) AND n.nspname !~ '^pg_' AND pg_catalog.pg_get_userbyid(c.relowner) = ` + literal(owner) + `
			AND ` + lacks("c.relacl", group, rights) + ` HAVING pg_catalog.count(*) > 0`
	}
	return `SELECT 'GRANT USAGE ON SCHEMA ' || pg_catalog.string_agg(pg_catalog.quote_ident(n.nspname), ', ') FROM pg_catalog.pg_namespace n
			WHERE n.nspname !~ '^pg_' AND pg_catalog.pg_get_userbyid(n.nspowner) IN (` + literal(owner) + `, 'pg_database_owner')
			AND ` + lacks("n.nspacl", group, "USAGE") + ` HAVING pg_catalog.count(*) > 0
		UNION ALL ` + relations("'r', 'p', 'f'", tables, "TABLE") + `
		UNION ALL ` + relations("'v', 'm'", "SELECT", "TABLE") + `
		UNION ALL ` + relations("'S'", "SELECT", "SEQUENCE")
}

// grantee is the grantee of an access list's entry a, as REVOKE names it.
const grantee = `CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END`

// writingGrants are the statements that revoke the rights to write on relations, columns and
// schemas, each with the role that has to run it. DELETE is among them if a rule does
// something else instead, with the rights of the table's owner.
const writingGrants = `SELECT c.relowner AS runner, ` + revokeOnRelation + ` AS statement
		FROM relations c, LATERAL pg_catalog.aclexplode(c.relacl) a WHERE ` + isWrite + `
	UNION SELECT c.relowner, ` + revokeOnRelation + `
		FROM relations c JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid, LATERAL pg_catalog.aclexplode(t.attacl) a WHERE ` + isWrite + `
	UNION SELECT c.relowner, pg_catalog.format('REVOKE DELETE ON TABLE %I.%I FROM %s CASCADE', c.nspname, c.relname, ` + grantee + `)
		FROM relations c, LATERAL pg_catalog.aclexplode(c.relacl) a WHERE a.privilege_type = 'DELETE' AND a.grantee <> c.relowner
		AND EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.ev_type = '4')
	UNION SELECT n.owner, pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s CASCADE', n.nspname, ` + grantee + `)
		FROM schemas n, LATERAL pg_catalog.aclexplode(n.nspacl) a WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner`

const (
	revokeOnRelation = `pg_catalog.format('REVOKE INSERT, UPDATE, TRIGGER ON TABLE %I.%I FROM %s CASCADE', c.nspname, c.relname, ` + grantee + `)`
	isWrite          = `a.privilege_type IN ('INSERT', 'UPDATE', 'TRIGGER') AND a.grantee <> c.relowner AND c.relkind <> 'S'`
)

// definerRoutines are the statements that keep SECURITY DEFINER routines from writing. The role
// "over" owns the owner role's routines until unlock gives them back. Other roles' routines
// must never become the owner role's: they become SECURITY INVOKER.
const definerRoutines = `SELECT p.proowner, CASE WHEN p.proowner <> i.owner
		THEN pg_catalog.format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::pg_catalog.regprocedure)
		ELSE pg_catalog.format(CASE WHEN pg_catalog.has_schema_privilege(i.over_quota, n.oid, 'CREATE') THEN '%1$s'
			ELSE 'GRANT CREATE ON SCHEMA %2$I TO %3$I; %1$s; REVOKE CREATE ON SCHEMA %2$I FROM %3$I' END,
			pg_catalog.format('ALTER ROUTINE %s OWNER TO %I', p.oid::pg_catalog.regprocedure, pg_catalog.pg_get_userbyid(i.over_quota)),
			n.nspname, pg_catalog.pg_get_userbyid(i.over_quota)) END
	FROM instance i, pg_catalog.pg_proc p JOIN schemas n ON n.oid = p.pronamespace WHERE p.prosecdef AND p.proowner NOT IN (i.over_quota, i.sessions)`

// freeze takes from everybody whatever would let a session write in a full database. Tenants
// cannot write with what superusers own, such as the objects of most extensions.
func (s *session) freeze(ctx context.Context, n names) error {
	query := `WITH instance AS (SELECT o.oid AS owner, v.oid AS over_quota, coalesce(s.oid, 0) AS sessions
			FROM pg_catalog.pg_roles o JOIN pg_catalog.pg_roles v ON v.rolname = ` + literal(n.overQuota) + `
			LEFT JOIN pg_catalog.pg_roles s ON s.rolname = ` + literal(n.sessions) + ` WHERE o.rolname = ` + literal(n.owner) + `),
		schemas AS (SELECT n.*, CASE pg_catalog.pg_get_userbyid(n.nspowner) WHEN 'pg_database_owner' THEN i.owner ELSE n.nspowner END AS owner
			FROM instance i, pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
		relations AS (SELECT c.oid, c.relname, c.relowner, c.relacl, c.relkind, n.nspname FROM pg_catalog.pg_class c JOIN schemas n ON n.oid = c.relnamespace)
		SELECT r.rolname, w.statement FROM (` + writingGrants + ` UNION ALL ` + definerRoutines + `) w (runner, statement)
		JOIN pg_catalog.pg_roles r ON r.oid = w.runner AND NOT r.rolsuper`
	runners, statements := []string{n.owner, n.overQuota}, []string(nil)
	err := s.Query(ctx, query, func(rows *sql.Rows) error {
		var runner, statement string
		err := rows.Scan(&runner, &statement)
		runners, statements = append(runners, runner), append(statements, statement)
		return err
	})
	if err != nil {
		return err
	}
	runners = distinct(runners)
	for some := range slices.Chunk(statements, batch) {
		if err := s.runAs(ctx, runners, some...); err != nil {
			return err
		}
	}
	return nil
}
