package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// A transaction locks each object that it touches, and all databases of a server share
// one table of locks: REASSIGN OWNED of a role that owns tens of thousands of tables
// exhausts it for everybody. Roles that own much are therefore stripped in batches.
const (
	// batch is how many objects one transaction moves or drops. A table has a few
	// locks: its own, and those of its indexes and of its TOAST table.
	batch = 100
	// most is how many objects one query lists. Tenants choose their names, which can
	// be long.
	most = 5000
	// stripTime is how long one call strips a role.
	stripTime = 10 * time.Second
)

// owned is an object as ALTER and DROP name it.
type owned struct {
	kind, name string
	// closed is the object's schema if its next owner may not create objects there, and
	// holder the schema's owner if the administrator is not a member of it.
	closed, holder string
}

func (o owned) giveTo(role string) string {
	return "ALTER " + o.kind + " " + o.name + " OWNER TO " + ident(role)
}

func (o owned) drop() string {
	if o.kind == "LARGE OBJECT" {
		return "SELECT pg_catalog.lo_unlink(" + o.name + ")"
	}
	return "DROP " + o.kind + " IF EXISTS " + o.name
}

// strip takes from a role all that it owns and was granted in this database. If the
// role may write there, its objects go to the database's owner role. Else they are
// dropped: views, SECURITY DEFINER functions and triggers run with the rights of their
// owner, so that their author would get the owner role's rights.
func (s *session) strip(ctx context.Context, role string, writes bool) error {
	var owner string
	err := s.query(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
		WHERE datname = pg_catalog.current_database()`, database.One(&owner))
	if err != nil {
		return err
	}
	roles := []string{role, owner}
	if writes {
		err = s.give(ctx, roles, role, owner)
	} else {
		err = s.inBatches(ctx, roles, role, role, dropAll)
	}
	if err != nil {
		return err
	}
	return s.acting(ctx, roles, "DROP OWNED BY "+ident(role))
}

// give makes another role the owner of all that a role owns in this database. roles are
// those of which the administrator has to become a member.
func (s *session) give(ctx context.Context, roles []string, role, to string) error {
	err := s.inBatches(ctx, roles, role, to, func(batch []owned) (also, statements []string) { return giveAll(batch, to) })
	if err != nil {
		return err
	}
	return s.acting(ctx, roles, "REASSIGN OWNED BY "+ident(role)+" TO "+ident(to))
}

// giveAll returns the statements that make a role the owner of objects, and the roles
// of which the administrator has to become a member. An owner needs the right to create
// objects in the schema, and gets it for that moment.
func giveAll(objects []owned, to string) (also, statements []string) {
	var before, after []string
	seen := map[string]bool{}
	for _, o := range objects {
		if o.closed != "" && !seen[o.closed] {
			seen[o.closed] = true
			if o.holder != "" {
				also = append(also, o.holder)
			}
			before = append(before, "GRANT CREATE ON SCHEMA "+ident(o.closed)+" TO "+ident(to))
			after = append(after, "REVOKE CREATE ON SCHEMA "+ident(o.closed)+" FROM "+ident(to))
		}
		statements = append(statements, o.giveTo(to))
	}
	return also, slices.Concat(before, statements, after)
}

func dropAll(objects []owned) (also, statements []string) {
	for _, o := range objects {
		statements = append(statements, o.drop())
	}
	return nil, statements
}

// acting runs statements in one transaction, as a member of roles.
func (s *session) acting(ctx context.Context, roles []string, statements ...string) error {
	return s.transaction(ctx, as(roles, statements...)...)
}

// inBatches changes what a role owns until no more than a batch is left, which is
// little enough for REASSIGN OWNED and DROP OWNED. to is the next owner.
func (s *session) inBatches(ctx context.Context, roles []string, role, to string, change func([]owned) (also, statements []string)) error {
	began := time.Now()
	for {
		objects, err := s.ownedBy(ctx, role, to)
		if err != nil || len(objects) <= batch {
			return err
		}
		for len(objects) > 0 {
			if time.Since(began) > stripTime {
				return services.NotYet(100*time.Millisecond, fmt.Sprintf("%d or more objects of role %s still have to be reassigned or dropped", len(objects), role))
			}
			n := min(batch, len(objects))
			also, statements := change(objects[:n])
			if err := s.acting(ctx, distinct(append(also, roles...)), statements...); err != nil {
				return err
			}
			objects = objects[n:]
		}
	}
}

// ownedBy lists what a role owns in this database, the newest first, because dependent
// objects are newer. It leaves out objects that belong to another one, such as the
// sequence of a serial column, and kinds of which there are never many.
func (s *session) ownedBy(ctx context.Context, role, to string) ([]owned, error) {
	var objects []owned
	err := s.query(ctx, `SELECT i.type, i.identity, coalesce(n.nspname, ''), CASE WHEN n.oid IS NULL OR pg_catalog.pg_has_role(n.nspowner, 'USAGE') THEN '' ELSE pg_catalog.pg_get_userbyid(n.nspowner) END FROM (
		SELECT s.classid, s.objid FROM pg_catalog.pg_shdepend s
		JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database()
		JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND r.rolname = `+literal(role)+`
		WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
		AND s.classid IN (`+joined(movable, func(class string) string { return literal("pg_catalog."+class) + "::pg_catalog.regclass" })+`)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
			LEFT JOIN pg_catalog.pg_class c ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = e.objid
			WHERE e.classid = s.classid AND e.objid = s.objid AND e.objsubid = 0
			AND (e.deptype IN ('i', 'e') OR e.deptype = 'a' AND c.relkind = 'S'))
		ORDER BY s.objid::pg_catalog.int8 DESC LIMIT `+fmt.Sprint(most)+`) o,
		LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
		LEFT JOIN pg_catalog.pg_namespace n ON pg_catalog.quote_ident(n.nspname) = i.schema
			AND NOT pg_catalog.has_schema_privilege(`+literal(to)+`, n.oid, 'CREATE')
		WHERE i.identity IS NOT NULL AND i.schema IS DISTINCT FROM 'pg_temp'`,
		func(rows *sql.Rows) error {
			var o owned
			err := rows.Scan(&o.kind, &o.name, &o.closed, &o.holder)
			o.kind = strings.ToUpper(o.kind)
			switch o.kind {
			case "STATISTICS OBJECT":
				o.kind = "STATISTICS"
			case "AGGREGATE": // one without arguments is written differently in ALTER AGGREGATE
				o.kind = "ROUTINE"
			}
			objects = append(objects, o)
			return err
		})
	return objects, err
}

func distinct(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// movable are the catalogs of objects of which anybody can make many.
var movable = []string{
	"pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion",
	"pg_ts_dict", "pg_ts_config", "pg_statistic_ext", "pg_largeobject",
}
