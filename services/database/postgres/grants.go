package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services/database"
)

// rights are what a group role gets on everything that the owner role owns and
// will own.
type rights struct{ tables, views, sequences string }

var (
	readerRights = rights{tables: "SELECT", views: "SELECT", sequences: "SELECT"}
	overRights   = rights{tables: "SELECT, DELETE, TRUNCATE", views: "SELECT", sequences: "SELECT"}
)

// overRightsOn returns the rights in a full database: from PostgreSQL 17 on, VACUUM FULL
// is among them.
func overRightsOn(version int) rights {
	r := overRights
	if version >= 170000 {
		r.tables += ", MAINTAIN"
	}
	return r
}

// makeReader makes the reader role and grants the rights that it lacks: all of them the
// first time, later those that a crash or a tenant took away.
func (b *backend) makeReader(ctx context.Context, s *session, st *state) error {
	n := st.names
	var statements []string
	if !st.has(n.reader) {
		statements = append(statements, "CREATE ROLE "+ident(n.reader)+" NOLOGIN")
	}
	if !slices.Contains(st.Database.Guests, n.reader) {
		statements = append(statements, st.asOwner("GRANT CONNECT ON DATABASE "+ident(n.database)+" TO "+ident(n.reader))...)
	}
	if len(statements) > 0 {
		if err := s.transaction(ctx, statements...); err != nil {
			return explain("make the reader role", err)
		}
	}
	return b.inside(ctx, s, n.database, func(t *session) error {
		return b.orNotYet(ctx, n.database, "grant read_only bindings their rights", func() error {
			return explain("give the reader role its rights", t.grantAll(ctx, n.owner, n.reader, readerRights))
		})
	})
}

// grantAll grants a group role the rights that it lacks on what the owner role owns in
// this database, and by default privileges on what it will own. A grant changes the
// object and waits for other transactions that changed it, so that only missing rights
// are granted. The default privileges come first: an object that is made between the
// two is covered.
func (s *session) grantAll(ctx context.Context, owner, group string, r rights) error {
	for _, query := range []string{missingDefaults(owner, group, r), missingGrants(owner, group, r)} {
		var statements []string
		err := s.query(ctx, query, database.Into(&statements))
		for i := range statements {
			statements[i] += " TO " + ident(group)
		}
		if err == nil && len(statements) > 0 {
			err = s.acting(ctx, []string{owner}, statements...)
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

// missingDefaults selects the statements, without their ends, for the default
// privileges that a group role lacks.
func missingDefaults(owner, group string, r rights) string {
	missing := func(kind, rights, objects string) string {
		return `SELECT ` + literal("ALTER DEFAULT PRIVILEGES FOR ROLE "+ident(owner)+" GRANT "+rights+" ON "+objects) + ` WHERE ` +
			lacks(`(SELECT d.defaclacl FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles o ON o.oid = d.defaclrole
				WHERE o.rolname = `+literal(owner)+` AND d.defaclnamespace = 0 AND d.defaclobjtype = '`+kind+`')`, group, rights)
	}
	return missing("r", r.tables, "TABLES") + " UNION ALL " + missing("S", r.sequences, "SEQUENCES") + " UNION ALL " + missing("n", "USAGE", "SCHEMAS")
}

// missingGrants selects the statements, without their ends, for the rights that a
// group role lacks on what the owner role owns. Schema public belongs to
// pg_database_owner from PostgreSQL 15 on, which is the owner role here.
func missingGrants(owner, group string, r rights) string {
	relations := func(kinds, rights, what string) string {
		return `SELECT ` + literal("GRANT "+rights+" ON "+what+" ") + ` || pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', ')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN (` + kinds + `) AND n.nspname !~ '^pg_' AND pg_catalog.pg_get_userbyid(c.relowner) = ` + literal(owner) + `
			AND ` + lacks("c.relacl", group, rights) + ` HAVING pg_catalog.count(*) > 0`
	}
	return `SELECT 'GRANT USAGE ON SCHEMA ' || pg_catalog.string_agg(pg_catalog.quote_ident(n.nspname), ', ') FROM pg_catalog.pg_namespace n
			WHERE n.nspname !~ '^pg_' AND pg_catalog.pg_get_userbyid(n.nspowner) IN (` + literal(owner) + `, 'pg_database_owner')
			AND ` + lacks("n.nspacl", group, "USAGE") + ` HAVING pg_catalog.count(*) > 0
		UNION ALL ` + relations("'r', 'p', 'f'", r.tables, "TABLE") + `
		UNION ALL ` + relations("'v', 'm'", r.views, "TABLE") + `
		UNION ALL ` + relations("'S'", r.sequences, "SEQUENCE")
}
