package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// copyHeader is the first line of a copy: what pg_dump leaves out, or would have restored with
// the wrong owner.
type copyHeader struct {
	// Settings are the tenant's of the database, each "name=value".
	Settings []string `json:"settings"`
	// Private are the routines that PUBLIC may not execute.
	Private []string `json:"private"`
	// Foreign are objects of roles that cannot write. If the owner role owned a view or a routine
	// of a read_only binding, that would act with the owner's rights.
	Foreign []foreignObject `json:"foreign"`
}

type foreignObject struct {
	Owner string `json:"owner"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

const (
	maxHeader = 16 << 20
	maxPublic = 20000
)

func (h copyHeader) write(w io.Writer) error {
	line, err := json.Marshal(h)
	if err == nil && len(line) >= maxHeader {
		err = services.Rejected("the settings of the database and the names of routines are too large for a backup")
	}
	if err == nil {
		_, err = w.Write(append(line, '\n'))
	}
	return err
}

func (h copyHeader) foreignOwners() []string {
	var owners []string
	for _, o := range h.Foreign {
		owners = append(owners, o.Owner)
	}
	return distinct(owners)
}

// look begins the transaction whose snapshot pg_dump uses, and asks in it for what the header
// needs. It calls nothing of the tenant's: the catalogs alone answer.
func (d *dump) look(ctx context.Context, plan Plan, st *state) error {
	t := d.snapshot
	err := t.Exec(ctx, "SET idle_in_transaction_session_timeout = 0", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err != nil {
		return explain("begin the snapshot", err)
	}
	var snapshot string
	var tables, sessions int
	var showsSessions bool
	err = t.Query(ctx, `SELECT pg_catalog.pg_export_snapshot(),
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'),
		pg_catalog.pg_encoding_to_char(d.encoding), d.datconnlimit,
		(SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid),
		EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'chandler' AND pg_catalog.pg_get_userbyid(nspowner) = `+literal(d.names.sessions)+`)
		FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()`,
		database.One(&snapshot, &tables, &d.details.Encoding, &d.limit, &sessions, &showsSessions))
	if err != nil {
		return explain("take a snapshot", err)
	}
	if tables+catalogLocks > plan.Locks {
		return services.Rejected("the database has %d tables: a backup locks all of them, and the plan allows a session %d locks, %d of which are reserved; drop tables or choose a larger plan",
			tables, plan.Locks, catalogLocks)
	}
	d.crowded = d.limit >= 0 && sessions+1 >= d.limit
	d.program.Args = dumpArguments(snapshot, d.details.Encoding, showsSessions)
	if err := t.Query(ctx, "SELECT extname FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY 1", database.Into(&d.details.Extensions)); err != nil {
		return explain("ask for the extensions", err)
	}
	if d.header.Settings, err = t.tenantSettings(ctx); err != nil {
		return err
	}
	if d.header.Private, err = t.privateRoutines(ctx, d.names); err != nil {
		return err
	}
	d.header.Foreign, err = t.foreignObjects(ctx, d.names)
	return err
}

// catalogLocks is how many locks pg_dump takes on the server's own tables.
const catalogLocks = 80

func dumpArguments(snapshot, encoding string, showsSessions bool) []string {
	args := []string{
		"--format=custom", "--compress=0", "--no-password", "--encoding=" + encoding, "--snapshot=" + snapshot,
		"--no-acl", "--no-subscriptions", "--no-security-labels", "--no-tablespaces",
		fmt.Sprintf("--lock-wait-timeout=%d", tableLockTime.Milliseconds()),
	}
	if showsSessions { // the instance that is restored has its own
		args = append(args, "--exclude-schema=chandler")
	}
	return args
}

// plansSettings are settings of a database that a copy leaves out: the plan's, and those that
// name something of this server.
var plansSettings = []string{tempFileLimit, "statement_timeout", "role", "session_authorization", preloads}

// tenantSettings returns what ALTER DATABASE ... SET set.
func (s *session) tenantSettings(ctx context.Context) ([]string, error) {
	var settings []string
	err := s.Query(ctx, `SELECT v FROM pg_catalog.pg_db_role_setting c JOIN pg_catalog.pg_database d ON d.oid = c.setdatabase,
		LATERAL pg_catalog.unnest(c.setconfig) v WHERE d.datname = pg_catalog.current_database() AND c.setrole = 0
		AND pg_catalog.pg_column_size(c.setconfig) <= 8192`, database.Into(&settings))
	settings = slices.DeleteFunc(settings, func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.Contains(plansSettings, name)
	})
	return settings, explain("ask for the database's settings", err)
}

// privateRoutines returns the routines that PUBLIC may not execute.
func (s *session) privateRoutines(ctx context.Context, n names) ([]string, error) {
	var routines []string
	err := s.Query(ctx, `SELECT p.oid::pg_catalog.regprocedure::pg_catalog.text FROM pg_catalog.pg_proc p
		JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
		WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND pg_catalog.pg_get_userbyid(n.nspowner) <> `+literal(n.sessions)+`
		AND p.proacl IS NOT NULL AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(p.proacl) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND e.objid = p.oid AND e.deptype = 'e')
		ORDER BY p.oid LIMIT `+fmt.Sprint(maxPublic+1), database.Into(&routines))
	if err == nil && len(routines) > maxPublic {
		err = services.Rejected("a backup keeps the rights of at most %d routines that PUBLIC may not execute; drop some", maxPublic)
	}
	return routines, explain("ask for the rights on routines", err)
}

// foreignObjects returns what belongs to roles other than the instance's own and its read_write
// bindings', also revoked ones.
func (s *session) foreignObjects(ctx context.Context, n names) ([]foreignObject, error) {
	var owners []string
	err := s.Query(ctx, `SELECT DISTINCT r.rolname FROM pg_catalog.pg_roles r JOIN pg_catalog.pg_shdepend s ON s.refobjid = r.oid AND s.deptype = 'o'
			AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
		JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database()
		WHERE NOT r.rolsuper AND r.rolname NOT IN (`+literals([]string{n.owner, n.overQuota, n.sessions})+`)
		AND pg_catalog.shobj_description(r.oid, 'pg_authid') IS DISTINCT FROM `+literal(revokedFrom(n.database))+`
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles g ON g.oid = am.roleid
			WHERE am.member = r.oid AND g.rolname IN (`+literals([]string{n.owner, n.overQuota})+`))`, database.Into(&owners))
	if err != nil {
		return nil, explain("ask who owns what is in the database", err)
	}
	var foreign []foreignObject
	for _, owner := range owners {
		objects, err := s.ownedBy(ctx, owner, owner)
		if err == nil && len(objects) == maxListed {
			err = services.Rejected("read_only bindings own %d objects or more: drop some, because a backup lists them", maxListed)
		}
		if err != nil {
			return nil, explain("ask what the role owns", err)
		}
		for _, o := range objects {
			if o.kind != "SCHEMA" && o.kind != "LARGE OBJECT" { // they do nothing
				foreign = append(foreign, foreignObject{owner, o.kind, o.name})
			}
		}
	}
	return foreign, nil
}
