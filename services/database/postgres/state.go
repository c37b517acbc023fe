package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services/database"
)

// state is what exists of an instance on the server.
type state struct {
	names names

	// Instance is the name of its database.
	Instance string         `json:"instance"`
	Version  int            `json:"version"`
	Database *databaseState `json:"database"`
	Groups   []string       `json:"groups"` // the group roles that exist
	Moved    bool           `json:"moved"`  // whether the instance is marked as completely locked
	Members  []member       `json:"members"`
	Template template       `json:"template"`
	Spares   []string       `json:"spares"` // databases that could become this instance's
	Locked   bool           `json:"locked"` // whether the session holds a lock
	Exists   bool           `json:"exists"` // whether the binding's role exists
}

type databaseState struct {
	Owner    string   `json:"owner"`
	Limit    int      `json:"limit"` // of connections, or interrupted
	Open     bool     `json:"open"`
	Guests   []string `json:"guests"`   // the roles that were granted CONNECT
	Settings []string `json:"settings"` // those of ALTER DATABASE ... SET, each "name=value"

	// The rest is in measuredPart only. Owners is how many bindings may not write, and own
	// something to which they can; Shows says whether the functions exist that show sessions.
	Bytes  int64 `json:"size"`
	Owners int   `json:"owners"`
	Shows  bool  `json:"shows"`
}

type member struct {
	Role  string `json:"role"`
	Group string `json:"group"`
}

// template has what a database gets that is made without options.
type template struct {
	Encoding string `json:"encoding"`
	Collate  string `json:"collate"`
	Ctype    string `json:"ctype"`
}

const (
	// oversized stands for settings that are larger than any use of them.
	oversized = "oversized"
	// interrupted is datconnlimit after an interrupted DROP (DATCONNLIMIT_INVALID_DB).
	interrupted = -2
)

func (d *databaseState) hasSetting(name string) bool {
	return d != nil && slices.ContainsFunc(d.Settings, func(s string) bool { return strings.HasPrefix(s, name+"=") })
}

// complete says whether the instance has a database that is not being made or removed.
func (st *state) complete() bool {
	d := st.Database
	return d != nil && d.Limit != interrupted && (d.Open || d.Owner == st.names.owner)
}

func (st *state) hasGroup(group string) bool { return slices.Contains(st.Groups, group) }

// createGroup returns the statement that creates a group role, unless it exists.
func (st *state) createGroup(group string) []string {
	if st.hasGroup(group) {
		return nil
	}
	return []string{"CREATE ROLE " + ident(group) + " NOLOGIN"}
}

// overQuota says whether the instance is marked as over quota.
func (st *state) overQuota() bool { return st.hasGroup(st.names.overQuota) }

// membersOf returns the bindings' roles in any of the groups.
func (st *state) membersOf(groups ...string) []string {
	var roles []string
	for _, m := range st.Members {
		if slices.Contains(groups, m.Group) {
			roles = append(roles, m.Role)
		}
	}
	return distinct(roles)
}

// writers returns the read_write bindings' roles, in whichever group they are now.
func (st *state) writers() []string { return st.membersOf(st.names.owner, st.names.overQuota) }

// canWrite says whether a role can write in the instance's database.
func (st *state) canWrite(role string) bool {
	return slices.Contains(append(st.writers(), st.names.owner, st.names.overQuota, st.names.restorer), role)
}

// The parts of a state, each an SQL expression about the instance whose database is i.name.
// Names of roles are cast to name, so that the server finds them by index.
const (
	versionPart  = `'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4`
	databaseKeys = `'database', (SELECT pg_catalog.json_build_object(
		'owner', pg_catalog.pg_get_userbyid(d.datdba), 'limit', d.datconnlimit, 'open', d.datallowconn,
		'guests', (SELECT pg_catalog.json_agg(g.rolname) FROM pg_catalog.aclexplode(d.datacl) a
			JOIN pg_catalog.pg_roles g ON g.oid = a.grantee WHERE a.privilege_type = 'CONNECT'),
		'settings', ` + databaseSettings
	// A tenant may set strings of 200 MB that take 2 MB on the disk.
	databaseSettings = `(SELECT CASE WHEN pg_catalog.pg_column_size(c.setconfig) > 8192 THEN '["` + oversized + `="]'
			ELSE (SELECT pg_catalog.json_agg(pg_catalog."left"(v, 100)) FROM pg_catalog.unnest(c.setconfig) v) END
			FROM pg_catalog.pg_db_role_setting c WHERE c.setdatabase = d.oid AND c.setrole = 0)`
	databaseFrom = `) FROM pg_catalog.pg_database d WHERE d.datname = i.name)`
	databasePart = databaseKeys + databaseFrom
	// pg_database_size fails if the database is removed meanwhile.
	measuredPart = databaseKeys + `,
		'size', CASE WHEN d.datconnlimit <> -2 AND (d.datallowconn OR pg_catalog.pg_get_userbyid(d.datdba) = i.name || '_owner')
			THEN pg_catalog.pg_database_size(d.oid) END,
		'owners', CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = (i.name || '_over')::pg_catalog.name)
			THEN (SELECT pg_catalog.count(DISTINCT m.oid) ` + ownersIn + ` AND m.rolname ~ <single>) END,
		'shows', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = (i.name || '_sessions')::pg_catalog.name
			AND pg_catalog.shobj_description(oid, 'pg_authid') = d.oid::pg_catalog.text)` + databaseFrom
	groups     = `ANY (ARRAY[i.name || '_owner', i.name || '_reader', i.name || '_over', i.name || '_sessions', i.name || '_restore']::pg_catalog.name[])`
	groupsPart = `'groups', (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles WHERE rolname = ` + groups + `)`
	movedPart  = `'moved', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = (i.name || '_over')::pg_catalog.name
		AND pg_catalog.shobj_description(oid, 'pg_authid') IS NOT NULL)`
	// From PostgreSQL 16 on, a membership exists once per grantor; the administrator's own
	// are not a binding's.
	membersPart = `'members', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_object('role', m.rolname, 'group', g.rolname))
		FROM pg_catalog.pg_roles g
		JOIN pg_catalog.pg_auth_members am ON am.roleid = g.oid
		JOIN pg_catalog.pg_roles m ON m.oid = am.member
		WHERE g.rolname = ` + groups + ` AND m.rolname ~ <single>)`
	templatePart = `'template', (SELECT pg_catalog.json_build_object('encoding', pg_catalog.pg_encoding_to_char(encoding),
		'collate', datcollate, 'ctype', datctype) FROM pg_catalog.pg_database WHERE datname = 'template0')`
	// A spare without an access list was interrupted before its REVOKE.
	sparesPart = `'spares', (SELECT pg_catalog.json_agg(s.datname) FROM (
		SELECT d.datname FROM pg_catalog.pg_database d
		WHERE d.datname ~ <spare> AND NOT d.datallowconn AND d.datacl IS NOT NULL AND d.datconnlimit <> -2
		ORDER BY pg_catalog.random() LIMIT 4) s)`
	rolePart   = `'exists', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = <role>)`
	lockedPart = `'locked', EXISTS (SELECT FROM pg_catalog.pg_locks
		WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'advisory' AND granted)`
)

// stateQuery asks for parts of the states of instances, by database, and of a binding's role.
func (b *backend) stateQuery(databases []string, role string, parts ...string) string {
	return "SELECT pg_catalog.json_build_object('instance', i.name, " + strings.NewReplacer(
		"<single>", literal(b.names.single.String()),
		"<spare>", literal(b.names.spares.String()),
		"<role>", literal(role),
	).Replace(strings.Join(parts, ", ")) + ") FROM pg_catalog.unnest(ARRAY[" + literals(databases) + "]::pg_catalog.name[]) i (name)"
}

// measure reads what Reconcile compares of instances in one query, by database.
func (b *backend) measure(ctx context.Context, instances []instance) (map[string]*state, error) {
	databases, states := make([]string, len(instances)), map[string]*state{}
	for i, inst := range instances {
		databases[i] = b.names.instance(inst.Name).database
	}
	query := b.stateQuery(databases, "", versionPart, measuredPart, groupsPart, movedPart, membersPart)
	err := database.Query(ctx, b.pool, query, func(rows *sql.Rows) error {
		st := &state{}
		err := st.scan(rows)
		states[st.Instance] = st
		return err
	})
	return states, explain("ask the server what exists", err)
}

func (st *state) scan(rows *sql.Rows) error {
	var answer []byte
	if err := rows.Scan(&answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer, st); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	st.names = namesOf(st.Instance)
	return nil
}
