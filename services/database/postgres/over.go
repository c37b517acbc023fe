package postgres

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
)

// An instance that uses more than its plan's storage is locked: its read_write
// bindings leave the owner role for the role "over", which may read, delete and
// truncate. That the role exists is the mark; its comment is when everything in the
// database had become read-only.

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
		return b.unlock(ctx, s, st, p)
	case st.over() || tooLarge(used, p.Storage):
		return b.lock(ctx, s, st)
	}
	return nil
}

// lock takes the right to write from every role that has it. Reading goes on, in
// new sessions: whoever has one keeps the rights that it began with, or objects
// that are taken away.
func (b *backend) lock(ctx context.Context, s *session, st *state) error {
	n := st.names
	writers := st.writers()
	if err := b.closeOwners(ctx, s, st); err != nil {
		return explain("close the bindings that own objects in a full database", err)
	}
	if err := b.markOver(ctx, s, st); err != nil {
		return explain("mark the database as full", err)
	}
	if err := b.moveWriters(ctx, s, st, n.over); err != nil {
		return explain("move the bindings of a full database", err)
	}
	err := b.inside(ctx, s, n.database, func(t *session) error {
		for _, role := range writers { // what they own or were granted by themselves would stay theirs
			if err := t.strip(ctx, role, true); err != nil {
				return err
			}
		}
		if err := t.grantAll(ctx, n.owner, n.over, overRightsOn(st.Version)); err != nil {
			return err
		}
		return t.freeze(ctx, n)
	})
	if err != nil {
		return explain("make a full database read-only", err)
	}
	return explain("mark the database as read-only", s.markLocked(ctx, n.over))
}

// markOver makes the role "over" and takes from everybody else what they may do
// with the database, but for the instance's own groups. All sessions end.
func (b *backend) markOver(ctx context.Context, s *session, st *state) error {
	n, db := st.names, ident(st.names.database)
	var statements []string
	if !st.over() {
		statements = append(statements, "CREATE ROLE "+ident(n.over)+" NOLOGIN")
	}
	statements = append(statements, join(n.owner),
		"GRANT CONNECT ON DATABASE "+db+" TO "+ident(n.over),
		"REVOKE ALL ON DATABASE "+db+" FROM PUBLIC")
	err := s.query(ctx, `SELECT DISTINCT 'REVOKE ALL ON DATABASE `+db+` FROM ' || pg_catalog.quote_ident(r.rolname) || ' CASCADE'
		FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE d.datname = `+literal(n.database)+` AND r.rolname NOT IN (`+literals(n.groups())+`, CURRENT_USER)
		UNION SELECT 'REVOKE CREATE, TEMPORARY ON DATABASE `+db+` FROM ' || pg_catalog.quote_ident(rolname)
		FROM pg_catalog.pg_roles WHERE rolname = `+literal(n.reader), func(rows *sql.Rows) error {
		var statement string
		err := rows.Scan(&statement)
		statements = append(statements, statement)
		return err
	})
	if err != nil {
		return err
	}
	return b.insist(ctx, s, append(statements, leave(n.owner)), []string{cutAllIn(n.database)})
}

// markLocked notes on the role when the database became read-only: sweep ends the
// sessions that are older.
func (s *session) markLocked(ctx context.Context, over string) error {
	var now string
	err := s.query(ctx, "SELECT pg_catalog.clock_timestamp()::pg_catalog.text", func(rows *sql.Rows) error { return rows.Scan(&now) })
	if err != nil {
		return err
	}
	return s.exec(ctx, "COMMENT ON ROLE "+ident(over)+" IS "+literal(now))
}

// cutAllIn returns the query that ends all of a database's sessions but the
// administrator's and those of superusers, which it may not end.
func cutAllIn(database string) string {
	return `SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
		JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper AND r.rolname <> CURRENT_USER
		WHERE a.datname = ` + literal(database)
}

// ownersIn selects the bindings' roles m of a database d that can still connect,
// may not write any more, and own something in it by themselves or by their
// group: whoever owns a table or a large object can write to it. The group "over"
// owns routines (freeze).
const ownersIn = `FROM pg_catalog.pg_roles g
	JOIN pg_catalog.pg_auth_members am ON am.roleid = g.oid
	JOIN pg_catalog.pg_roles m ON m.oid = am.member AND m.rolconnlimit <> 0
	WHERE g.rolname IN (d.datname || '_reader', d.datname || '_over')
	AND EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE s.dbid = d.oid AND s.deptype = 'o'
		AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
		AND (s.refobjid = m.oid OR s.refobjid = g.oid AND s.classid <> 'pg_catalog.pg_proc'::pg_catalog.regclass))`

// closeOwners lets bindings that own something no longer connect. In a database
// that is being locked, what read_write bindings own is taken from them instead.
func (b *backend) closeOwners(ctx context.Context, s *session, st *state) error {
	group := " AND g.rolname = " + literal(st.names.reader)
	if st.Moved {
		group = ""
	}
	var statements []string
	err := s.query(ctx, `SELECT 'ALTER ROLE ' || pg_catalog.quote_ident(o.rolname) || ' CONNECTION LIMIT 0'
		FROM pg_catalog.pg_database d, LATERAL (SELECT DISTINCT m.rolname `+ownersIn+group+` AND m.rolname ~ `+literal(b.names.single.String())+`) o
		WHERE d.datname = `+literal(st.names.database), func(rows *sql.Rows) error {
		var statement string
		err := rows.Scan(&statement)
		statements = append(statements, statement)
		return err
	})
	if err != nil || len(statements) == 0 {
		return err
	}
	return b.insist(ctx, s, statements, nil)
}

// unlock gives the right to write back.
func (b *backend) unlock(ctx context.Context, s *session, st *state, p Plan) error {
	if err := b.moveWriters(ctx, s, st, st.names.owner); err != nil {
		return explain("move the bindings back", err)
	}
	if err := s.transaction(ctx, bindingLimits(st, p)...); err != nil {
		return explain("let the bindings connect again", err)
	}
	if err := b.stripAtHome(ctx, s, st, st.names.over); err != nil {
		return err
	}
	return b.drop(ctx, s, st, st.names.over)
}

// moveWriters makes the read_write bindings members of group alone and ends
// their sessions, which still are what they were.
func (b *backend) moveWriters(ctx context.Context, s *session, st *state, group string) error {
	var statements []string
	for _, role := range st.writers() {
		statements = append(append(statements, moveTo(st, role, group)...), actAs(st, role, group)...)
	}
	if err := b.insist(ctx, s, statements, nil); err != nil {
		return err
	}
	return s.cutAll(ctx, st.writers())
}

func (s *session) cutAll(ctx context.Context, roles []string) error {
	if len(roles) == 0 {
		return nil
	}
	return s.exec(ctx, cut(roles))
}
