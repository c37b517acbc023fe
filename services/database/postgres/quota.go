package postgres

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// An instance that uses more than its plan's storage is locked: its read_write bindings
// leave the owner role for the role "over", which may read, delete and truncate. The
// role's existence marks the instance; its comment is the time from which everything in
// the database is read-only.

func (st *state) quota(p Plan) database.Quota {
	return database.Quota{Used: services.Size(st.Database.Bytes), Storage: p.Storage, Marked: st.overQuota()}
}

// enforce locks or unlocks the instance where its size asks for that.
func (b *backend) enforce(ctx context.Context, s *session, st *state, p Plan) error {
	switch quota := st.quota(p); {
	case quota.Resumes():
		return b.unlock(ctx, s, st, p)
	case quota.Exceeded():
		return b.lock(ctx, s, st)
	}
	return nil
}

// lock takes the right to write from every role. Reading goes on in new sessions: an old
// session keeps the rights with which it began.
func (b *backend) lock(ctx context.Context, s *session, st *state) error {
	n := st.names
	if err := b.refuseOwners(ctx, s, st); err != nil {
		return explain("close the bindings that own objects in a full database", err)
	}
	if err := b.mark(ctx, s, st); err != nil {
		return explain("mark the database as full", err)
	}
	if err := b.moveWriters(ctx, s, st, n.overQuota); err != nil {
		return explain("move the bindings of a full database", err)
	}
	err := b.inDatabase(ctx, s, n.database, func(t *session) error {
		for _, role := range st.writers() { // what they own or were granted themselves
			if err := t.strip(ctx, role, true); err != nil {
				return err
			}
		}
		if err := t.grantAll(ctx, n.owner, n.overQuota, overQuotaRights(st.Version)); err != nil {
			return err
		}
		return t.freeze(ctx, n)
	})
	if err != nil {
		return explain("make a full database read-only", err)
	}
	return explain("mark the database as read-only", s.commentOn(ctx, n.overQuota, "pg_catalog.clock_timestamp()")) // sweep ends older sessions
}

// commentOn makes an expression the comment on a role.
func (s *session) commentOn(ctx context.Context, role, expression string) error {
	return s.Exec(ctx, `DO $$ BEGIN EXECUTE 'COMMENT ON ROLE `+ident(role)+` IS ' || pg_catalog.quote_literal((`+expression+`)::pg_catalog.text); END $$`)
}

// mark makes the role "over", revokes all rights on the database except the instance's own
// groups', and ends all sessions.
func (b *backend) mark(ctx context.Context, s *session, st *state) error {
	n, db := st.names, ident(st.names.database)
	owned := []string{"GRANT CONNECT ON DATABASE " + db + " TO " + ident(n.overQuota), "REVOKE ALL ON DATABASE " + db + " FROM PUBLIC"}
	err := s.Query(ctx, `SELECT DISTINCT 'REVOKE ALL ON DATABASE `+db+` FROM ' || pg_catalog.quote_ident(r.rolname) || ' CASCADE'
		FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
		WHERE d.datname = `+literal(n.database)+` AND r.rolname NOT IN (`+literals(n.groups())+`, CURRENT_USER)
		UNION SELECT 'REVOKE CREATE, TEMPORARY ON DATABASE `+db+` FROM ' || pg_catalog.quote_ident(rolname)
		FROM pg_catalog.pg_roles WHERE rolname = `+literal(n.reader), database.Into(&owned))
	if err != nil {
		return err
	}
	return b.insist(ctx, s, append(st.createGroup(n.overQuota), st.asOwner(owned...)...),
		"SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a "+endable+" WHERE a.datname = "+literal(n.database))
}

// endable selects the sessions a of others that the administrator may end.
const endable = "JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid AND NOT r.rolsuper AND r.rolname <> CURRENT_USER"

// ownersIn selects the bindings' roles m of a database d that can connect, may not
// write, and own something in it themselves or through their group: the owner of a table
// or large object can write to it. The group "over" owns routines (freeze).
const ownersIn = `FROM pg_catalog.pg_roles g
	JOIN pg_catalog.pg_auth_members am ON am.roleid = g.oid
	JOIN pg_catalog.pg_roles m ON m.oid = am.member AND m.rolconnlimit <> 0
	WHERE g.rolname = ANY (ARRAY[d.datname || '_reader', d.datname || '_over']::pg_catalog.name[])
	AND EXISTS (SELECT FROM pg_catalog.pg_shdepend s WHERE s.dbid = d.oid AND s.deptype = 'o'
		AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
		AND (s.refobjid = m.oid OR s.refobjid = g.oid AND s.classid <> 'pg_catalog.pg_proc'::pg_catalog.regclass))`

// refuseOwners keeps bindings that own something from connecting. While a database is
// being locked, read_write bindings lose what they own instead.
func (b *backend) refuseOwners(ctx context.Context, s *session, st *state) error {
	group := " AND g.rolname = " + literal(st.names.reader)
	if st.Moved {
		group = ""
	}
	var statements []string
	err := s.Query(ctx, `SELECT 'ALTER ROLE ' || pg_catalog.quote_ident(o.rolname) || ' CONNECTION LIMIT 0'
		FROM pg_catalog.pg_database d, LATERAL (SELECT DISTINCT m.rolname `+ownersIn+group+` AND m.rolname ~ `+literal(b.names.single.String())+`) o
		WHERE d.datname = `+literal(st.names.database), database.Into(&statements))
	if err != nil || len(statements) == 0 {
		return err
	}
	return b.insist(ctx, s, statements, "")
}

// unlock gives the right to write back.
func (b *backend) unlock(ctx context.Context, s *session, st *state, p Plan) error {
	if err := b.moveWriters(ctx, s, st, st.names.owner); err != nil {
		return explain("move the bindings back", err)
	}
	if err := s.transaction(ctx, bindingLimits(st, p)...); err != nil {
		return explain("let the bindings connect again", err)
	}
	if err := b.stripAtHome(ctx, s, st, st.names.overQuota); err != nil {
		return err
	}
	return b.dropRoles(ctx, s, st, st.names.overQuota)
}

// moveWriters moves the read_write bindings to a group and ends sessions with their old rights.
func (b *backend) moveWriters(ctx context.Context, s *session, st *state, group string) error {
	writers := st.writers()
	if len(writers) == 0 {
		return nil
	}
	var statements []string
	for _, role := range writers {
		statements = append(append(statements, moveTo(st, role, group)...), actAs(st, role, group)...)
	}
	return b.insist(ctx, s, statements, terminate(writers))
}
