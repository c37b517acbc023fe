package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// A transaction holds a lock on each object that it touches, and all databases of
// a server share one table of locks: REASSIGN OWNED of a role that owns tens of
// thousands of tables exhausts it, for everybody. Roles that own much are
// therefore stripped a batch at a time.
const (
	// batch is how many objects one transaction moves or drops. A table has a few
	// locks: its own, and those of its indexes and of its TOAST table.
	batch = 100
	// most is how many objects are asked for at a time.
	most = 20000
	// stripTime is how long one call works on that.
	stripTime = 10 * time.Second
)

// owned is an object as ALTER and DROP name it.
type owned struct{ kind, name string }

func (o owned) giveTo(role string) string {
	return "ALTER " + o.kind + " " + o.name + " OWNER TO " + ident(role)
}

func (o owned) drop() string {
	if o.kind == "LARGE OBJECT" {
		return "SELECT pg_catalog.lo_unlink(" + o.name + ")"
	}
	return "DROP " + o.kind + " IF EXISTS " + o.name
}

// strip takes from a role all that it owns and was granted in this database. What
// it owned goes to the database's owner role if the role may write there anyway,
// and is dropped otherwise: a view, a SECURITY DEFINER function or a trigger acts
// with the rights of its owner, so that whoever made it would get the rights of
// the owner role.
func (s *session) strip(ctx context.Context, role string, writes bool) error {
	var owner string
	err := s.query(ctx, `SELECT pg_catalog.pg_get_userbyid(datdba) FROM pg_catalog.pg_database
		WHERE datname = pg_catalog.current_database()`, func(rows *sql.Rows) error { return rows.Scan(&owner) })
	if err != nil {
		return err
	}
	rest := []string{"DROP OWNED BY " + ident(role)}
	change := owned.drop
	if writes {
		rest = append([]string{"REASSIGN OWNED BY " + ident(role) + " TO " + ident(owner)}, rest...)
		change = func(o owned) string { return o.giveTo(owner) }
	}
	as := []string{role, owner}
	if err := s.inBatches(ctx, role, as, change); err != nil {
		return err
	}
	return s.acting(ctx, as, rest...)
}

// give makes another role the owner of all that a role owns in this database.
func (s *session) give(ctx context.Context, role, to string) error {
	as := []string{role, to}
	if err := s.inBatches(ctx, role, as, func(o owned) string { return o.giveTo(to) }); err != nil {
		return err
	}
	return s.acting(ctx, as, "REASSIGN OWNED BY "+ident(role)+" TO "+ident(to))
}

// acting runs statements as one transaction in which the administrator belongs to
// roles.
func (s *session) acting(ctx context.Context, roles []string, statements ...string) error {
	return s.transaction(ctx, append(append([]string{join(roles...)}, statements...), leave(roles...))...)
}

// inBatches changes what a role owns until no more than a batch is left, which is
// little enough for REASSIGN OWNED and DROP OWNED.
func (s *session) inBatches(ctx context.Context, role string, as []string, change func(owned) string) error {
	began := time.Now()
	for {
		objects, err := s.ownedBy(ctx, role)
		if err != nil || len(objects) <= batch {
			return err
		}
		for len(objects) > 0 {
			if time.Since(began) > stripTime {
				return services.NotYet(100*time.Millisecond, fmt.Sprintf("%d or more objects of role %s are left to change hands or to drop", len(objects), role))
			}
			n := min(batch, len(objects))
			statements := make([]string, n)
			for i, o := range objects[:n] {
				statements[i] = change(o)
			}
			if err := s.acting(ctx, as, statements...); err != nil {
				return err
			}
			objects = objects[n:]
		}
	}
}

// ownedBy lists what a role owns in this database, the newest first, because what
// depends on something is newer. Left out is what belongs to another object, such
// as the sequence of a serial column, and what there is never much of.
func (s *session) ownedBy(ctx context.Context, role string) ([]owned, error) {
	var objects []owned
	err := s.query(ctx, `SELECT i.type, i.identity FROM (
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
		LATERAL pg_catalog.pg_identify_object(o.classid, o.objid, 0) i WHERE i.identity IS NOT NULL`,
		func(rows *sql.Rows) error {
			var o owned
			err := rows.Scan(&o.kind, &o.name)
			o.kind = strings.ToUpper(o.kind)
			if o.kind == "STATISTICS OBJECT" {
				o.kind = "STATISTICS"
			}
			objects = append(objects, o)
			return err
		})
	return objects, err
}

// movable are the catalogs of what anybody can make many of.
var movable = []string{
	"pg_class", "pg_proc", "pg_type", "pg_namespace", "pg_operator", "pg_opclass", "pg_opfamily", "pg_collation", "pg_conversion",
	"pg_ts_dict", "pg_ts_config", "pg_statistic_ext", "pg_largeobject",
}
