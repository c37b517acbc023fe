package postgres

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
)

// An instance that uses more than its plan's storage is locked: its read_write
// bindings leave the owner role for the role "over", which may read, delete and
// truncate. That the role exists is the mark; its comment is when the last
// writer's sessions were ended.

// tooLarge says whether used is more than a plan's storage.
func tooLarge(used, storage services.Size) bool { return storage != 0 && used > storage }

// resume is where a locked instance is unlocked: below the limit by a
// twentieth, so that one at the limit is not locked and unlocked all the time.
func resume(storage services.Size) services.Size { return storage - storage/20 }

func mayWrite(used, storage services.Size) bool { return storage == 0 || used < resume(storage) }

// enforce locks or unlocks the instance where its size asks for that.
func (b *backend) enforce(ctx context.Context, s *session, st *state, p Plan) error {
	used := services.Size(st.Database.Bytes)
	switch {
	case st.over() && mayWrite(used, p.Storage):
		return b.unlock(ctx, s, st)
	case st.over() || tooLarge(used, p.Storage):
		return b.lock(ctx, s, st)
	}
	return nil
}

// lock takes the right to write from the bindings. Reading goes on.
func (b *backend) lock(ctx context.Context, s *session, st *state) error {
	n, writers := st.names, st.writers()
	if err := s.transaction(ctx, markOver(st)...); err != nil {
		return explain("mark the database as full", err)
	}
	var first []string
	if len(writers) > 0 { // what they own or were granted by themselves would stay theirs
		first = append(append([]string{join(writers...)}, stripped(writers, n.owner)...), leave(writers...))
	}
	// Nobody may be in a transaction that holds what is taken away.
	if err := s.cutAll(ctx, writers); err != nil {
		return explain("end the sessions of a full database", err)
	}
	err := b.inside(ctx, s, n.database, func(t *session) error {
		if err := t.grantAll(ctx, n.owner, n.over, overRightsOn(st.Version), first); err != nil {
			return err
		}
		return t.revokeWriting(ctx, n.owner)
	})
	if err != nil {
		return explain("make a full database read-only", err)
	}
	return explain("move the bindings of a full database", b.moveWriters(ctx, s, st, n.over))
}

func markOver(st *state) []string {
	n, db := st.names, ident(st.names.database)
	var statements []string
	if !st.over() {
		statements = append(statements, "CREATE ROLE "+ident(n.over)+" NOLOGIN")
	}
	return append(statements, join(n.owner),
		"GRANT CONNECT ON DATABASE "+db+" TO "+ident(n.over),
		"REVOKE ALL ON DATABASE "+db+" FROM PUBLIC",
		leave(n.owner))
}

// revokeWriting takes back what the tenant granted to others than the owner
// role, PUBLIC above all, and what would let a locked binding write.
func (s *session) revokeWriting(ctx context.Context, owner string) error {
	const grantee = `CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END`
	relation := `pg_catalog.format('REVOKE INSERT, UPDATE, TRIGGER ON TABLE %I.%I FROM %s CASCADE', n.nspname, c.relname, ` + grantee + `)`
	writes := ` a.privilege_type IN ('INSERT', 'UPDATE', 'TRIGGER') AND a.grantee <> c.relowner AND c.relkind <> 'S'
		AND pg_catalog.pg_get_userbyid(c.relowner) = ` + literal(owner)
	query := `SELECT ` + relation + ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace,
			LATERAL pg_catalog.aclexplode(c.relacl) a WHERE` + writes + `
		UNION SELECT ` + relation + ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			JOIN pg_catalog.pg_attribute t ON t.attrelid = c.oid,
			LATERAL pg_catalog.aclexplode(t.attacl) a WHERE` + writes + `
		UNION SELECT pg_catalog.format('REVOKE CREATE ON SCHEMA %I FROM %s CASCADE', n.nspname, ` + grantee + `)
			FROM pg_catalog.pg_namespace n, LATERAL pg_catalog.aclexplode(n.nspacl) a
			WHERE a.privilege_type = 'CREATE' AND a.grantee <> n.nspowner
			AND pg_catalog.pg_get_userbyid(n.nspowner) IN (` + literal(owner) + `, 'pg_database_owner')`
	statements := []string{join(owner)}
	err := s.query(ctx, query, func(rows *sql.Rows) error {
		var statement string
		err := rows.Scan(&statement)
		statements = append(statements, statement)
		return err
	})
	if err != nil || len(statements) == 1 {
		return err
	}
	return s.transaction(ctx, append(statements, leave(owner))...)
}

// unlock gives the right to write back.
func (b *backend) unlock(ctx context.Context, s *session, st *state) error {
	if err := b.moveWriters(ctx, s, st, st.names.owner); err != nil {
		return explain("move the bindings back", err)
	}
	return b.dispose(ctx, s, []string{st.names.over})
}

// moveWriters makes the read_write bindings members of group alone and ends
// their sessions, which still are what they were.
func (b *backend) moveWriters(ctx context.Context, s *session, st *state, group string) error {
	var statements []string
	for _, role := range st.writers() {
		statements = append(append(statements, moveTo(st, role, group)...), actAs(st, role, group)...)
	}
	if err := s.transaction(ctx, statements...); err != nil {
		return err
	}
	if err := s.cutAll(ctx, st.writers()); err != nil || group != st.names.over {
		return err
	}
	var now string
	err := s.query(ctx, "SELECT pg_catalog.clock_timestamp()::pg_catalog.text", func(rows *sql.Rows) error { return rows.Scan(&now) })
	if err != nil {
		return err
	}
	return s.exec(ctx, "COMMENT ON ROLE "+ident(group)+" IS "+literal(now))
}

func (s *session) cutAll(ctx context.Context, roles []string) error {
	if len(roles) == 0 {
		return nil
	}
	return s.exec(ctx, cut(roles))
}
