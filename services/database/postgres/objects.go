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

// A transaction locks each object that it touches, and all databases of a server share one
// table of locks: REASSIGN OWNED of a role that owns tens of thousands of tables exhausts it.
// Roles that own much are therefore stripped in batches.
const (
	batch     = 100              // objects in a transaction; a table takes several locks
	maxListed = 5000             // objects in a list
	stripTime = 10 * time.Second // of one call
)

// object is an object as ALTER and DROP name it.
type object struct {
	kind, name string
	// schema is the object's if its next owner may not create objects there, and
	// schemaOwner is the schema's owner if the administrator is not a member of it.
	schema, schemaOwner string
}

// strip takes from a role all that it owns and was granted in this database. If the role may
// write there, its objects go to the database's owner role. Else they are dropped: views,
// SECURITY DEFINER functions and triggers run with the rights of their owner, and would give
// their author the owner role's.
func (s *session) strip(ctx context.Context, role string, writes bool) error {
	var owner string
	err := s.Query(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
		WHERE datname = pg_catalog.current_database()`, database.One(&owner))
	if err != nil {
		return err
	}
	roles := []string{role, owner}
	if writes {
		err = s.give(ctx, roles, role, owner)
	} else {
		_, err = s.inBatches(ctx, roles, role, role, dropAll)
	}
	if err != nil {
		return err
	}
	return s.runAs(ctx, roles, "DROP OWNED BY "+ident(role))
}

// give makes another role the owner of all that a role owns in this database, as a member of roles.
func (s *session) give(ctx context.Context, roles []string, role, to string) error {
	rest, err := s.inBatches(ctx, roles, role, to, func(batch []object) (also, statements []string) {
		return admitted(batch, to, given(batch, to))
	})
	if err != nil {
		return err
	}
	// REASSIGN OWNED takes objects in any order, and refuses some whose schema comes later.
	var schemas, checked []object
	for _, o := range rest {
		switch {
		case o.kind == schemaKind:
			schemas = append(schemas, o)
		case !slices.Contains(uncheckedKinds, o.kind):
			checked = append(checked, o)
		}
	}
	also, statements := admitted(checked, to, append(given(schemas, to), "REASSIGN OWNED BY "+ident(role)+" TO "+ident(to)))
	return s.runAs(ctx, distinct(append(also, roles...)), statements...)
}

// uncheckedKinds are those of which REASSIGN OWNED does not ask whether the next owner may create
// objects in the schema.
var uncheckedKinds = []string{"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE", "SEQUENCE", "INDEX", "TYPE", "COMPOSITE TYPE", "LARGE OBJECT"}

// given returns the statements that make a role the owner of objects.
func given(objects []object, to string) (statements []string) {
	for _, o := range objects {
		statements = append(statements, "ALTER "+o.kind+" "+o.name+" OWNER TO "+ident(to))
	}
	return statements
}

// admitted lets a role own the objects while statements run: an owner needs the right to create
// objects in the schema. It also returns the roles of which the administrator has to become a
// member.
func admitted(objects []object, to string, statements []string) (also, all []string) {
	var schemas []string
	for _, o := range objects {
		if o.schema != "" {
			schemas = append(schemas, o.schema)
		}
		if o.schemaOwner != "" {
			also = append(also, o.schemaOwner)
		}
	}
	if len(schemas) == 0 {
		return nil, statements
	}
	list := idents(distinct(schemas))
	return also, slices.Concat([]string{"GRANT CREATE ON SCHEMA " + list + " TO " + ident(to)}, statements,
		[]string{"REVOKE CREATE ON SCHEMA " + list + " FROM " + ident(to)})
}

func dropAll(objects []object) (also, statements []string) {
	for _, o := range objects {
		statement := "DROP " + o.kind + " IF EXISTS " + o.name
		if o.kind == "LARGE OBJECT" {
			statement = "SELECT pg_catalog.lo_unlink(" + o.name + ")"
		}
		statements = append(statements, statement)
	}
	return nil, statements
}

// runAs runs statements in one transaction, as a member of roles.
func (s *session) runAs(ctx context.Context, roles []string, statements ...string) error {
	return s.transaction(ctx, asMember(roles, statements...)...)
}

// inBatches changes what a role owns until at most a batch is left for REASSIGN OWNED and DROP
// OWNED. to is the next owner.
func (s *session) inBatches(ctx context.Context, roles []string, role, to string, change func([]object) (also, statements []string)) (rest []object, err error) {
	began := time.Now()
	for {
		objects, err := s.ownedBy(ctx, role, to)
		if err != nil || len(objects) <= batch {
			return objects, err
		}
		for some := range slices.Chunk(objects, batch) {
			if time.Since(began) > stripTime {
				return nil, services.NotYet(100*time.Millisecond, fmt.Sprintf("%d or more objects of role %s still have to be reassigned or dropped", len(objects), role))
			}
			also, statements := change(some)
			if err := s.runAs(ctx, distinct(append(also, roles...)), statements...); err != nil {
				return nil, err
			}
			objects = objects[len(some):]
		}
	}
}

// schemaKind is the kind of schemas.
const schemaKind = "SCHEMA"

// ownedBy lists what a role owns in this database, the newest first, because dependent
// objects are newer; but first the schemas if another role gets them, because their next owner may
// then create objects there. It leaves out objects that belong to another one, such as the
// sequence of a serial column, and kinds of which there are never many.
func (s *session) ownedBy(ctx context.Context, role, to string) ([]object, error) {
	var objects []object
	err := s.Query(ctx, `SELECT i.type, i.identity, coalesce(n.nspname, ''), CASE WHEN n.oid IS NULL OR pg_catalog.pg_has_role(n.nspowner, 'USAGE') THEN '' ELSE pg_catalog.pg_get_userbyid(n.nspowner) END FROM (
		SELECT s.classid, s.objid FROM pg_catalog.pg_shdepend s
		JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database()
		JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND r.rolname = `+literal(role)+`
		WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.deptype = 'o'
		AND s.classid IN (`+database.Joined(movable, func(class string) string { return literal("pg_catalog."+class) + "::pg_catalog.regclass" })+`)
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
			LEFT JOIN pg_catalog.pg_class c ON e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.oid = e.objid
			WHERE e.classid = s.classid AND e.objid = s.objid AND e.objsubid = 0
			AND (e.deptype IN ('i', 'e') OR e.deptype = 'a' AND c.relkind = 'S'))
		ORDER BY s.classid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND r.rolname <> `+literal(to)+` DESC, s.objid::pg_catalog.int8 DESC LIMIT `+fmt.Sprint(maxListed)+`) o,
		LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
		LEFT JOIN pg_catalog.pg_namespace n ON pg_catalog.quote_ident(n.nspname) = i.schema
			AND pg_catalog.pg_get_userbyid(n.nspowner) <> `+literal(role)+`
			AND NOT pg_catalog.has_schema_privilege(`+literal(to)+`, n.oid, 'CREATE')
		WHERE i.identity IS NOT NULL AND i.schema IS DISTINCT FROM 'pg_temp'`,
		func(rows *sql.Rows) error {
			var o object
			err := rows.Scan(&o.kind, &o.name, &o.schema, &o.schemaOwner)
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

// movable are the catalogs of objects of which anybody can make many.
var movable = []string{
	"pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion",
	"pg_ts_dict", "pg_ts_config", "pg_statistic_ext", "pg_largeobject",
}
