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
	name       string
	enterable  bool // not a template, and allows connections
	sessions   int
	users      []string      // of the sessions
	granted    []string      // roles with rights on it
	owners     []sourceOwner // of what is in it, the database itself included
	superusers []string      // that own tables or views in it
}

// sourceOwner is a role that owns something in a source.
type sourceOwner struct {
	role      string
	superuser bool
	member    bool     // the administrator may act for it
	others    []string // other databases that it owns
}

const sourceQuery = `SELECT NOT d.datistemplate AND d.datallowconn,
	(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usename <> current_user),
	ARRAY(SELECT DISTINCT a.usename::pg_catalog.text FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usename <> current_user),
	ARRAY(SELECT DISTINCT r.rolname::pg_catalog.text FROM pg_catalog.aclexplode(d.datacl) x JOIN pg_catalog.pg_roles r ON r.oid = x.grantee WHERE x.grantee <> d.datdba)
	FROM pg_catalog.pg_database d WHERE d.datname = `

// ownersQuery asks for the owners of everything but the objects of extensions.
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

// Adopt implements services.Adopter: a database replaces the instance's own, which must be
// empty. Everything in it goes to the instance's owner role; the previous owners stay on the
// server and lose access. The last transaction renames the database and notes its old name:
// before it a repeated call continues, after it there is nothing to do.
func (b *backend) Adopt(ctx context.Context, r services.AdoptRequest[Plan, InstanceParams]) (services.AdoptResult, error) {
	var result services.AdoptResult
	parts := []string{versionPart, databasePart, groupsPart}
	err := b.work(ctx, exclusive, b.names.instance(r.Instance.Name), "", parts, func(ctx context.Context, s *session, st *state) (err error) {
		result.Steps, err = b.adopt(ctx, s, st, r)
		return err
	})
	return result, err
}

func (b *backend) adopt(ctx context.Context, s *session, st *state, r services.AdoptRequest[Plan, InstanceParams]) ([]string, error) {
	if _, ours := b.names.single.Instance(r.Resource); ours || strings.HasPrefix(r.Resource, b.names.spare("")) {
		return nil, services.Rejected("database %q is one of this broker's", r.Resource)
	}
	src, err := b.source(ctx, s, st, r.Resource)
	if err != nil {
		return nil, err
	}
	if src == nil {
		return []string{fmt.Sprintf("database %q was adopted before: it is %s now", r.Resource, st.names.database)}, nil
	}
	if err := src.obstacles(); err != nil {
		return nil, err
	}
	if st.Database != nil && st.Database.Open { // else an interrupted adoption has closed it
		if err := b.checkEmpty(ctx, s, st.names.database); err != nil {
			return nil, err
		}
	}
	steps := src.steps(st, r.Instance.Plan)
	if r.DryRun {
		return steps, nil
	}
	return steps, b.takeOver(ctx, s, st, r.Instance.Plan, src)
}

// adopted begins the comment on a database that was adopted, before its name.
const adopted = "adopted: "

// source describes a database to adopt; nil if the instance has adopted it.
func (b *backend) source(ctx context.Context, s *session, st *state, name string) (*source, error) {
	var src *source
	err := s.Query(ctx, sourceQuery+literal(name), func(rows *sql.Rows) error {
		src = &source{name: name}
		return rows.Scan(&src.enterable, &src.sessions, (*pq.StringArray)(&src.users), (*pq.StringArray)(&src.granted))
	})
	switch {
	case err != nil:
		return nil, explain("look at the database", err)
	case src == nil:
		return nil, b.checkAdopted(ctx, s, st, name)
	case !src.enterable || src.sessions > 0:
		return src, nil // no need to look inside
	}
	t, err := b.connectTo(ctx, s, name)
	if err != nil {
		return nil, explain("connect to the database (GRANT CONNECT ON DATABASE "+ident(name)+" to the administrator)", err)
	}
	defer t.Release(ctx)
	err = t.Query(ctx, ownersQuery, func(rows *sql.Rows) error {
		var o sourceOwner
		err := rows.Scan(&o.role, &o.superuser, &o.member, (*pq.StringArray)(&o.others))
		if o.role != st.names.owner { // of an interrupted adoption
			src.owners = append(src.owners, o)
		}
		return err
	})
	if err == nil {
		// PostgreSQL keeps no list of what its first superuser owns.
		err = t.Query(ctx, "SELECT DISTINCT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolsuper AND r.oid IN (SELECT c.relowner"+tablesFrom+")", database.Into(&src.superusers))
	}
	return src, explain("ask who owns what is in the database", err)
}

// checkAdopted refuses a database that does not exist, unless it is the instance's now.
func (b *backend) checkAdopted(ctx context.Context, s *session, st *state, name string) error {
	taken := false
	err := s.Query(ctx, "SELECT pg_catalog.shobj_description(d.oid, 'pg_database') IS NOT DISTINCT FROM "+literal(adopted+name)+
		" FROM pg_catalog.pg_database d WHERE d.datname = "+literal(st.names.database), database.One(&taken))
	if err != nil || taken {
		return explain("look at the instance's database", err)
	}
	return services.Rejected("database %q does not exist", name)
}

// obstacles names everything that has to be done first.
func (src *source) obstacles() error {
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if !src.enterable {
		fault("database %q is a template or does not allow connections", src.name)
	}
	if src.sessions > 0 {
		fault("database %q has %d sessions, of %s: stop the applications that use it", src.name, src.sessions, idents(src.users))
	}
	for _, o := range src.owners {
		role := ident(o.role)
		switch {
		case o.superuser:
			fault("database %q belongs to the superuser %s: ALTER DATABASE ... OWNER TO another role", src.name, role)
		case len(o.others) > 0:
			// REASSIGN OWNED would take those, too.
			fault("the role %s also owns the databases %s: let another role own those", role, idents(o.others))
		case !o.member:
			fault("the administrator is not a member of role %s: GRANT %s TO the administrator, as a superuser", role, role)
		}
	}
	if len(src.superusers) > 0 {
		fault("tables or views in database %q belong to the superusers %s: make another role their owner", src.name, idents(src.superusers))
	}
	if len(faults) == 0 {
		return nil
	}
	return services.Rejected("%s", strings.Join(faults, "\n"))
}

// steps describes what takeOver does.
func (src *source) steps(st *state, p Plan) []string {
	var steps []string
	if len(src.owners) > 0 {
		roles := database.Joined(src.owners, func(o sourceOwner) string { return ident(o.role) })
		steps = append(steps, fmt.Sprintf("what the roles %s own in database %q goes to %s", roles, src.name, st.names.owner))
	}
	steps = append(steps,
		fmt.Sprintf("the empty database %s is dropped, and database %q is renamed to that", st.names.database, src.name),
		fmt.Sprintf("only the instance's bindings can connect; the plan's limits apply: %d connections", p.Connections))
	if len(src.granted) > 0 {
		steps = append(steps, "the roles "+idents(src.granted)+" lose their rights on the database")
	}
	return steps
}

// checkEmpty refuses an instance whose own database holds tables.
func (b *backend) checkEmpty(ctx context.Context, s *session, name string) error {
	tables := 0
	err := b.inDatabase(ctx, s, name, func(t *session) error {
		return t.Query(ctx, "SELECT pg_catalog.count(*)"+tablesFrom, database.One(&tables))
	})
	if err == nil && tables > 0 {
		err = services.Rejected("the instance's own database %s has %d tables, which would be lost: adopt into an instance that was just created", name, tables)
	}
	return err
}

func (b *backend) takeOver(ctx context.Context, s *session, st *state, p Plan, src *source) error {
	if err := s.transaction(ctx, st.createGroup(st.names.owner)...); err != nil {
		return explain("make the owner role", err)
	}
	st.Groups = append(st.Groups, st.names.owner)
	if err := b.giveContents(ctx, s, st, src); err != nil {
		return explain("give the instance what is in the database", err)
	}
	if st.Database != nil {
		if err := s.transaction(ctx, takeBack(st)...); err != nil {
			return explain("take the empty database back", err)
		}
		if err := s.Exec(ctx, dropDatabase(st.names.database)+" WITH (FORCE)"); err != nil {
			return explain("drop the empty database", err)
		}
		st.Database = nil
	}
	name := ident(src.name)
	var final []string
	for _, role := range src.granted {
		final = append(final, "REVOKE ALL ON DATABASE "+name+" FROM "+ident(role)+" CASCADE")
	}
	final = append(final, "ALTER DATABASE "+name+" RENAME TO "+ident(st.names.database),
		"COMMENT ON DATABASE "+ident(st.names.database)+" IS "+literal(adopted+src.name))
	err := s.transaction(ctx, append(st.asOwner(final...), handOver(st, p)...)...)
	if is(err, pqerror.ObjectInUse) {
		return services.NotYet(100*time.Millisecond, "sessions in the database are ending")
	}
	return explain("rename the database", err)
}

// giveContents makes the instance's owner role the owner of all that is in the database.
func (b *backend) giveContents(ctx context.Context, s *session, st *state, src *source) error {
	t, err := b.connectTo(ctx, s, src.name)
	if err != nil {
		return err
	}
	defer t.Release(ctx)
	for _, o := range src.owners {
		if err := t.give(ctx, []string{st.names.owner}, o.role, st.names.owner); err != nil {
			return err
		}
	}
	return nil
}
