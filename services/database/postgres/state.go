package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// state is what exists of an instance on the server.
type state struct {
	names names

	Version int `json:"version"`
	// Database is nil where there is none.
	Database *databaseState `json:"database"`
	// Groups are those of the group roles that exist.
	Groups []string `json:"groups"`
	// Moved says whether the instance is marked as completely locked.
	Moved bool `json:"moved"`
	// Members are the bindings' roles and the groups they are in.
	Members []member `json:"members"`
	// Template is what a database made without a word has.
	Template template `json:"template"`
	// Spares are databases that could become this instance's.
	Spares []string `json:"spares"`
	// Locked says whether the session holds a lock.
	Locked bool `json:"locked"`
	// Exists says whether the role that was asked about does.
	Exists bool `json:"exists"`
}

type databaseState struct {
	Owner string `json:"owner"`
	// Limit is the limit of connections, or interrupted.
	Limit int  `json:"limit"`
	Open  bool `json:"open"`
	// Guests are the roles that were granted CONNECT.
	Guests []string `json:"guests"`
	// Settings are those of ALTER DATABASE ... SET, each "name=value".
	Settings []string `json:"settings"`
	// Bytes is how large it is; asked for by sizePart only.
	Bytes int64 `json:"size"`
}

func (d *databaseState) sets(name string) bool {
	return d != nil && slices.ContainsFunc(d.Settings, func(s string) bool { return strings.HasPrefix(s, name+"=") })
}

type member struct {
	Role  string `json:"role"`
	Group string `json:"group"`
}

type template struct {
	Encoding string `json:"encoding"`
	Collate  string `json:"collate"`
	Ctype    string `json:"ctype"`
}

// oversized stands for a database's settings that are larger than any use of them.
const oversized = "oversized"

// interrupted is datconnlimit of a database whose DROP was interrupted (PostgreSQL's
// DATCONNLIMIT_INVALID_DB).
const interrupted = -2

func (s *state) has(group string) bool { return slices.Contains(s.Groups, group) }

// over says whether the instance is marked as having used up its storage.
func (s *state) over() bool { return s.has(s.names.over) }

// in returns the bindings' roles in any of the groups.
func (s *state) in(groups ...string) []string {
	var roles []string
	for _, m := range s.Members {
		if slices.Contains(groups, m.Group) && !slices.Contains(roles, m.Role) {
			roles = append(roles, m.Role)
		}
	}
	return roles
}

// The parts of a state, each an SQL expression.
const (
	versionPart  = `'version', pg_catalog.current_setting('server_version_num')::pg_catalog.int4`
	databaseKeys = `'owner', pg_catalog.pg_get_userbyid(d.datdba), 'limit', d.datconnlimit, 'open', d.datallowconn,
		'guests', (SELECT pg_catalog.json_agg(g.rolname) FROM pg_catalog.aclexplode(d.datacl) a
			JOIN pg_catalog.pg_roles g ON g.oid = a.grantee WHERE a.privilege_type = 'CONNECT'),
		'settings', ` + databaseSettings
	// A tenant may set strings of 200 MB that take 2 MB on the disk: such settings are
	// not read.
	databaseSettings = `(SELECT CASE WHEN pg_catalog.pg_column_size(c.setconfig) > 8192 THEN '["` + oversized + `="]'
			ELSE (SELECT pg_catalog.json_agg(pg_catalog."left"(v, 100)) FROM pg_catalog.unnest(c.setconfig) v) END
			FROM pg_catalog.pg_db_role_setting c WHERE c.setdatabase = d.oid AND c.setrole = 0)`
	databaseFrom = `) FROM pg_catalog.pg_database d WHERE d.datname = %[1]s)`
	databasePart = `'database', (SELECT pg_catalog.json_build_object(` + databaseKeys + databaseFrom
	sizePart     = `'database', (SELECT pg_catalog.json_build_object(` + databaseKeys +
		`, 'size', pg_catalog.pg_database_size(d.oid)` + databaseFrom
	groupsPart = `'groups', (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles WHERE rolname IN (%[2]s))`
	movedPart  = `'moved', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %[1]s || '_over'
		AND pg_catalog.shobj_description(oid, 'pg_authid') IS NOT NULL)`
	// A membership may be there once per grantor (from PostgreSQL 16 on); the
	// administrator's own are not a binding's.
	membersPart = `'members', (SELECT pg_catalog.json_agg(DISTINCT pg_catalog.jsonb_build_object('role', m.rolname, 'group', g.rolname))
		FROM pg_catalog.pg_roles g
		JOIN pg_catalog.pg_auth_members am ON am.roleid = g.oid
		JOIN pg_catalog.pg_roles m ON m.oid = am.member
		WHERE g.rolname IN (%[2]s) AND m.rolname ~ %[3]s)`
	templatePart = `'template', (SELECT pg_catalog.json_build_object('encoding', pg_catalog.pg_encoding_to_char(encoding),
		'collate', datcollate, 'ctype', datctype) FROM pg_catalog.pg_database WHERE datname = 'template0')`
	// A spare without an access list was interrupted before its REVOKE.
	sparesPart = `'spares', (SELECT pg_catalog.json_agg(s.datname) FROM (
		SELECT d.datname FROM pg_catalog.pg_database d
		WHERE d.datname ~ %[4]s AND NOT d.datallowconn AND d.datacl IS NOT NULL AND d.datconnlimit <> -2
		ORDER BY pg_catalog.random() LIMIT 4) s)`
	rolePart   = `'exists', EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = %[5]s)`
	lockedPart = `'locked', EXISTS (SELECT FROM pg_catalog.pg_locks
		WHERE pid = pg_catalog.pg_backend_pid() AND locktype = 'advisory' AND granted)`
)

// ask returns the query for parts of the state of an instance and, unless it is empty,
// of a binding's role.
func (b *backend) ask(n names, role string, parts ...string) string {
	text := "SELECT pg_catalog.json_build_object(" + strings.Join(parts, ", ") + ")"
	return strings.NewReplacer(
		"%[1]s", literal(n.database),
		"%[2]s", literals(n.groups()),
		"%[3]s", literal(b.names.single.String()),
		"%[4]s", literal("^"+b.names.prefix+"spare_[a-z2-7]+$"),
		"%[5]s", literal(role),
	).Replace(text)
}

// begin takes the instance's lock and reads parts of its state, in one round trip.
func (b *backend) begin(ctx context.Context, mode lockMode, n names, role string, parts ...string) (*session, *state, error) {
	st := &state{names: n}
	s, err := b.locked(ctx, mode, n.database, b.ask(n, role, parts...), st.scan)
	if err != nil {
		return nil, nil, explain("ask the server what exists", err)
	}
	return s, st, nil
}

// work runs do under the instance's lock, with parts of its state. It is the one place
// that gives lock and connection back, even after a panic.
func (b *backend) work(ctx context.Context, mode lockMode, n names, role string, parts []string, do func(s *session, st *state) error) error {
	s, st, err := b.begin(ctx, mode, n, role, parts...)
	if err != nil {
		return err
	}
	defer s.release(ctx)
	return do(s, st)
}

// again reads parts of the state once more.
func (b *backend) again(ctx context.Context, s *session, n names, role string, parts ...string) (*state, error) {
	st := &state{names: n}
	if err := s.query(ctx, b.ask(n, role, parts...), st.scan); err != nil {
		return nil, explain("ask the server what exists", err)
	}
	return st, nil
}

func (st *state) scan(rows *sql.Rows) error { return scanJSON(rows, st) }

// scanJSON reads a row's one column.
func scanJSON(rows *sql.Rows, into any) error {
	var answer []byte
	if err := rows.Scan(&answer); err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the server's answer: %w", err)
	}
	return nil
}
