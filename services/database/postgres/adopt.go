package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// source is a database that is to become an instance's.
type source struct {
	owner    string
	template bool
	closed   bool
	sessions int
	users    []string // of the sessions
	granted  []string // roles that were given rights on it
	owners   []holder // of what is in it, the database itself included
	supers   []string // superusers that own tables or views in it
}

// holder is a role that owns something in a source.
type holder struct {
	role   string
	super  bool
	member bool     // the administrator may act for it
	others []string // other databases that it owns
}

const sourceQuery = `SELECT pg_catalog.pg_get_userbyid(d.datdba), d.datistemplate, NOT d.datallowconn,
	(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usename <> current_user),
	ARRAY(SELECT DISTINCT a.usename::pg_catalog.text FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usename <> current_user),
	ARRAY(SELECT DISTINCT r.rolname::pg_catalog.text FROM pg_catalog.aclexplode(d.datacl) x JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.grantee <> d.datdba)
	FROM pg_catalog.pg_database d WHERE d.datname = `

// ownersQuery asks for who owns what, but for what belongs to an extension.
const ownersQuery = `SELECT r.rolname, r.rolsuper, pg_catalog.pg_has_role(current_user, r.oid, 'USAGE'),
	ARRAY(SELECT o.datname::pg_catalog.text FROM pg_catalog.pg_database o WHERE o.datdba = r.oid AND o.datname <> pg_catalog.current_database())
	FROM pg_catalog.pg_roles r WHERE r.oid IN (
		SELECT d.refobjid FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.oid = d.dbid
			WHERE b.datname = pg_catalog.current_database() AND d.deptype = 'o' AND d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
		UNION SELECT datdba FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) ORDER BY 1`

// tablesFrom are the tables, views and sequences that users made.
const tablesFrom = ` FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e')`

// Adopt implements services.Adopter: a database replaces the instance's own, which has
// to be empty. Everything in it goes to the instance's owner role; the roles that owned
// it stay on the server and lose access. The last transaction renames the database and
// notes its old name: before it a repeated call continues, after it there is nothing to
// do.
func (b *backend) Adopt(ctx context.Context, r services.AdoptRequest[Plan, InstanceParams]) (services.AdoptResult, error) {
	n := b.names.instance(r.Instance.Name)
	var result services.AdoptResult
	err := b.work(ctx, exclusive, n, "", []string{versionPart, databasePart, groupsPart}, func(s *session, st *state) (err error) {
		result.Steps, err = b.adopt(ctx, s, st, r.Instance, r.Resource, r.DryRun)
		return err
	})
	return result, err
}

func (b *backend) adopt(ctx context.Context, s *session, st *state, inst instance, resource string, dry bool) ([]string, error) {
	if _, ours := b.names.single.Instance(resource); ours || strings.HasPrefix(resource, b.names.prefix+"spare_") {
		return nil, services.Rejected("database %q is one of this broker's", resource)
	}
	src, err := b.source(ctx, s, st, resource)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return []string{fmt.Sprintf("database %q was adopted before: it is %s now", resource, st.names.database)}, nil
	}
	if err := src.obstacles(resource); err != nil {
		return nil, err
	}
	if st.Database != nil && st.Database.Open { // else an interrupted adoption has looked, and closed it
		if err := b.empty(ctx, s, st.names.database); err != nil {
			return nil, err
		}
	}
	var roles []string
	for _, h := range src.owners {
		roles = append(roles, h.role)
	}
	var steps []string
	if len(roles) > 0 {
		steps = append(steps, fmt.Sprintf("what the roles %s own in database %q goes to %s", idents(roles), resource, st.names.owner))
	}
	steps = append(steps,
		fmt.Sprintf("the empty database %s is dropped, and database %q is renamed to that", st.names.database, resource),
		fmt.Sprintf("only the instance's bindings can connect; the plan's limits apply: %d connections", inst.Plan.Connections))
	if len(src.granted) > 0 {
		steps = append(steps, "the roles "+idents(src.granted)+" lose their rights on the database")
	}
	if dry {
		return steps, nil
	}
	return steps, b.takeOver(ctx, s, st, inst, src, resource, roles)
}

// adoptedFrom is the comment on a database that was adopted.
func adoptedFrom(resource string) string { return "adopted: " + resource }

// source looks for obstacles to adopting a database; nil if the instance has adopted it.
func (b *backend) source(ctx context.Context, s *session, st *state, resource string) (*source, error) {
	var src *source
	adopted := false
	err := s.query(ctx, sourceQuery+literal(resource), func(rows *sql.Rows) error {
		src = &source{}
		return rows.Scan(&src.owner, &src.template, &src.closed, &src.sessions, (*pq.StringArray)(&src.users), (*pq.StringArray)(&src.granted))
	})
	if err != nil {
		return nil, explain("look at the database", err)
	}
	if src == nil && st.Database != nil {
		err := s.query(ctx, "SELECT pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT DISTINCT FROM "+literal(adoptedFrom(resource))+
			" FROM pg_catalog.pg_database d WHERE d.datname = "+literal(st.names.database), database.One(&adopted))
		if err != nil || adopted {
			return nil, explain("look at the instance's database", err)
		}
	}
	if src == nil {
		return nil, services.Rejected("there is no database %q", resource)
	}
	if src.template || src.closed || src.sessions > 0 {
		return src, nil // no need to look inside
	}
	t, end, err := b.tenant(ctx, s, resource)
	if err != nil {
		return nil, explain("connect to the database (GRANT CONNECT ON DATABASE "+ident(resource)+" to the administrator)", err)
	}
	defer end()
	err = t.query(ctx, ownersQuery, func(rows *sql.Rows) error {
		var h holder
		err := rows.Scan(&h.role, &h.super, &h.member, (*pq.StringArray)(&h.others))
		if h.role != st.names.owner { // of an interrupted adoption
			src.owners = append(src.owners, h)
		}
		return err
	})
	if err == nil {
		// PostgreSQL keeps no list of what its first superuser owns.
		err = t.query(ctx, "SELECT DISTINCT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolsuper AND r.oid IN (SELECT c.relowner"+tablesFrom+")", database.Into(&src.supers))
	}
	return src, explain("ask who owns what is in the database", err)
}

// obstacles names everything that has to be done first.
func (src *source) obstacles(name string) error {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if src.template || src.closed {
		fault("database %q is a template or does not allow connections", name)
	}
	if src.sessions > 0 {
		fault("database %q has %d sessions, of %s: stop the applications that use it", name, src.sessions, idents(src.users))
	}
	for _, h := range src.owners {
		switch {
		case h.super:
			fault("database %q belongs to the superuser %s: ALTER DATABASE ... OWNER TO another role", name, ident(h.role))
		case len(h.others) > 0:
			// REASSIGN OWNED would take those, too.
			fault("the role %s also owns the databases %s: let another role own those", ident(h.role), idents(h.others))
		case !h.member:
			fault("the administrator is not a member of role %s: GRANT %s TO the administrator, as a superuser", ident(h.role), ident(h.role))
		}
	}
	if len(src.supers) > 0 {
		fault("tables or views in database %q belong to the superusers %s: make another role their owner", name, idents(src.supers))
	}
	if len(faults) == 0 {
		return nil
	}
	return services.Rejected("%s", strings.Join(faults, "\n"))
}

// empty refuses an instance whose own database holds tables.
func (b *backend) empty(ctx context.Context, s *session, name string) error {
	tables := 0
	err := b.inside(ctx, s, name, func(t *session) error {
		return t.query(ctx, "SELECT pg_catalog.count(*)"+tablesFrom, database.One(&tables))
	})
	if err == nil && tables > 0 {
		err = services.Rejected("the instance's own database %s has %d tables, which would be lost: adopt into an instance that was just created", name, tables)
	}
	return err
}

func (b *backend) takeOver(ctx context.Context, s *session, st *state, inst instance, src *source, resource string, roles []string) error {
	if !st.has(st.names.owner) {
		if err := s.exec(ctx, "CREATE ROLE "+ident(st.names.owner)+" NOLOGIN"); err != nil {
			return explain("make the owner role", err)
		}
		st.Groups = append(st.Groups, st.names.owner)
	}
	t, end, err := b.tenant(ctx, s, resource)
	if err != nil {
		return explain("connect to the database", err)
	}
	for _, role := range roles {
		if err = t.give(ctx, []string{st.names.owner}, role, st.names.owner); err != nil {
			break
		}
	}
	end()
	if err != nil {
		return explain("give the instance what is in the database", err)
	}
	if st.Database != nil {
		if err := s.transaction(ctx, takeBack(st)...); err != nil {
			return explain("take the empty database back", err)
		}
		if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(st.names.database)+" WITH (FORCE)"); err != nil {
			return explain("drop the empty database", err)
		}
		st.Database = nil
	}
	var final []string
	for _, role := range src.granted {
		final = append(final, "REVOKE ALL ON DATABASE "+ident(resource)+" FROM "+ident(role)+" CASCADE")
	}
	final = append(st.asOwner(append(final, "ALTER DATABASE "+ident(resource)+" RENAME TO "+ident(st.names.database),
		"COMMENT ON DATABASE "+ident(st.names.database)+" IS "+literal(adoptedFrom(resource)))...), handOver(st, inst.Plan)...)
	err = s.transaction(ctx, final...)
	if is(err, pqerror.ObjectInUse) {
		// The session that just ended, or one that a crash cut off, may still be open.
		return services.NotYet(100*time.Millisecond, "sessions in the database are ending")
	}
	return limitError("rename the database", err)
}
