package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
)

// rights are what a group role gets on everything that the owner role owns and
// will own.
type rights struct{ tables, views, sequences string }

var (
	readerRights = rights{tables: "SELECT", views: "SELECT", sequences: "SELECT"}
	overRights   = rights{tables: "SELECT, DELETE, TRUNCATE", views: "SELECT", sequences: "SELECT"}
)

// overRightsOn returns what may be done about a full database: from PostgreSQL
// 17 on that includes VACUUM FULL.
func overRightsOn(version int) rights {
	r := overRights
	if version >= 170000 {
		r.tables += ", MAINTAIN"
	}
	return r
}

// makeReader makes the reader role and gives it its rights. It repeats all of
// it at every read_only bind, which mends what a crash or a tenant broke.
func (b *backend) makeReader(ctx context.Context, s *session, st *state) error {
	n := st.names
	var statements []string
	if !st.has(n.reader) {
		statements = append(statements, "CREATE ROLE "+ident(n.reader)+" NOLOGIN")
	}
	statements = append(statements, join(n.owner),
		"GRANT CONNECT ON DATABASE "+ident(n.database)+" TO "+ident(n.reader), leave(n.owner))
	if err := s.transaction(ctx, statements...); err != nil {
		return explain("make the reader role", err)
	}
	return b.inside(ctx, s, n.database, func(t *session) error {
		return explain("give the reader role its rights", t.grantAll(ctx, n.owner, n.reader, readerRights, nil))
	})
}

// grantAll gives a group role its rights on what the owner role owns in this
// database, and by default privileges on what it will own. first runs before,
// in the first of its transactions. The default privileges come first, so that
// nothing is made between the two that neither covers.
func (s *session) grantAll(ctx context.Context, owner, group string, r rights, first []string) error {
	to, byDefault := " TO "+ident(group), "ALTER DEFAULT PRIVILEGES FOR ROLE "+ident(owner)+" GRANT "
	statements := append([]string{join(owner)}, first...)
	statements = append(statements,
		byDefault+r.tables+" ON TABLES"+to,
		byDefault+r.sequences+" ON SEQUENCES"+to,
		byDefault+"USAGE ON SCHEMAS"+to,
		leave(owner))
	if err := s.transaction(ctx, statements...); err != nil {
		return err
	}
	owned, err := s.owned(ctx, owner)
	if err != nil {
		return err
	}
	statements = []string{join(owner)}
	grant := func(what, objects string) {
		if objects != "" {
			statements = append(statements, "GRANT "+what+objects+to)
		}
	}
	grant("USAGE ON SCHEMA ", owned.Schemas)
	grant(r.tables+" ON TABLE ", owned.Tables)
	grant(r.views+" ON TABLE ", owned.Views)
	grant(r.sequences+" ON SEQUENCE ", owned.Sequences)
	return s.transaction(ctx, append(statements, leave(owner))...)
}

// objects are lists of quoted names, as GRANT takes them.
type objects struct{ Schemas, Tables, Views, Sequences string }

// owned lists what the owner role owns in this database. Schema public belongs
// to pg_database_owner from PostgreSQL 15 on, which is the owner role here.
func (s *session) owned(ctx context.Context, owner string) (objects, error) {
	relations := func(kinds string) string {
		return `(SELECT pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', ')
			FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN (` + kinds + `) AND n.nspname !~ '^pg_'
			AND pg_catalog.pg_get_userbyid(c.relowner) = ` + literal(owner) + `)`
	}
	query := `SELECT pg_catalog.json_build_object(
		'Schemas', (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(nspname), ', ') FROM pg_catalog.pg_namespace
			WHERE nspname !~ '^pg_' AND pg_catalog.pg_get_userbyid(nspowner) IN (` + literal(owner) + `, 'pg_database_owner')),
		'Tables', ` + relations("'r', 'p', 'f'") + `,
		'Views', ` + relations("'v', 'm'") + `,
		'Sequences', ` + relations("'S'") + `)`
	var o objects
	err := s.query(ctx, query, func(rows *sql.Rows) error {
		var answer []byte
		if err := rows.Scan(&answer); err != nil {
			return err
		}
		return json.Unmarshal(answer, &o)
	})
	return o, err
}
