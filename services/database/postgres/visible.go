package postgres

import (
	"context"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services/database"
)

// An application's session acts as the owner role, and a role sees and cancels only the
// sessions of roles of which it is a member. The owner role cannot be a member of the
// bindings' roles, which are its members. Instead it may call functions that run as the role
// "sessions", a member of the bindings' roles. The comment on that role is the OID of the
// database that has the functions.

// sessionFunctions returns the statements that make the functions in a schema of their own.
func sessionFunctions(n names) []string {
	const define = " LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS "
	const all = "chandler.sessions(), chandler.cancel(pg_catalog.int4), chandler.terminate(pg_catalog.int4)"
	return []string{
		"CREATE SCHEMA chandler AUTHORIZATION " + ident(n.sessions),
		"SET LOCAL ROLE " + ident(n.sessions),
		"CREATE FUNCTION chandler.sessions() RETURNS SETOF pg_catalog.pg_stat_activity STABLE" + define +
			"'SELECT * FROM pg_catalog.pg_stat_activity WHERE datname = pg_catalog.current_database()'",
		"CREATE FUNCTION chandler.cancel(pid pg_catalog.int4) RETURNS pg_catalog.bool" + define + "'SELECT pg_catalog.pg_cancel_backend(pid)'",
		"CREATE FUNCTION chandler.terminate(pid pg_catalog.int4) RETURNS pg_catalog.bool" + define + "'SELECT pg_catalog.pg_terminate_backend(pid)'",
		"REVOKE ALL ON FUNCTION " + all + " FROM PUBLIC",
		"GRANT EXECUTE ON FUNCTION " + all + " TO " + ident(n.owner),
		"GRANT USAGE ON SCHEMA chandler TO " + ident(n.owner),
		"SET LOCAL ROLE NONE",
	}
}

// showSessions makes the functions, unless another session works on the instance.
func (b *backend) showSessions(ctx context.Context, inst instance) error {
	parts := []string{lockedPart, databasePart, groupsPart, membersPart}
	return b.work(ctx, ifFree, b.names.instance(inst.Name), "", parts, b.makeSessionFunctions)
}

func (b *backend) makeSessionFunctions(ctx context.Context, s *session, st *state) error {
	if !st.mayEnter() {
		return nil
	}
	n := st.names
	statements := st.createGroup(n.sessions)
	for _, role := range st.membersOf(n.groups()...) {
		statements = append(statements, grantReach(n, role))
	}
	if err := s.transaction(ctx, statements...); err != nil {
		return explain("make the role that sees sessions", err)
	}
	err := b.inDatabase(ctx, s, n.database, func(t *session) error {
		err := t.runAs(ctx, []string{n.owner, n.sessions}, sessionFunctions(n)...)
		if is(err, pqerror.DuplicateSchema) {
			return nil // of an interrupted attempt, or the tenant's own, which stays
		}
		return err
	})
	if err != nil {
		return explain("make the functions that show sessions", err)
	}
	return explain("note that the database has them", s.commentOn(ctx, n.sessions, "SELECT oid FROM pg_catalog.pg_database WHERE datname = "+literal(n.database)))
}

// grantReach lets the functions reach a binding's sessions.
func grantReach(n names, role string) string {
	return "GRANT " + ident(role) + " TO " + ident(n.sessions)
}

// dropStrays drops the roles "sessions" that earlier releases left when they removed instances.
func (b *backend) dropStrays(ctx context.Context) error {
	var strays []string
	err := database.Query(ctx, b.pool, `SELECT r.rolname FROM pg_catalog.pg_roles r, pg_catalog.regexp_replace(r.rolname, '_sessions$', '') base
		WHERE r.rolname ~ `+literal(b.names.grouped.String())+` AND base <> r.rolname
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datname = base)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname = base || '_owner')`, database.Into(&strays))
	if err != nil || len(strays) == 0 {
		return explain("look for roles of instances that are gone", err)
	}
	return explain("drop roles of instances that are gone", b.execute(ctx, "DROP ROLE IF EXISTS "+idents(strays)))
}
