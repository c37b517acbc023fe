package postgres

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestSuite(t *testing.T) {
	t.Parallel()
	servicetest.Run(t, newServer(t).suite())
}

func (s *testServer) suite() servicetest.Suite {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    s.admin.Host,
		Config:     func(address string) json.RawMessage { return s.proxied(address, "suite") },
		Secrets:    []string{adminPassword},
		Plan: raw(`{"connections": 12, "connections_per_binding": 6, "storage": "100MB", "temp_file_limit": "200MB",
			"statement_timeout": "30s", "extensions": ["citext", "pgcrypto", "hstore"]}`),
		OtherPlan: raw(`{"connections": 20, "storage": "1GB", "extensions": ["citext", "pgcrypto", "hstore"]}`),
		Create: []json.RawMessage{
			raw(`{}`),
			raw(`{"character_set": "latin2", "collate": "C", "extensions": ["citext"]}`),
		},
		Update:   []json.RawMessage{raw(`{"extensions": ["citext", "pgcrypto"]}`)},
		Bind:     []json.RawMessage{raw(`{}`)},
		BindSame: []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"an unknown character set":         raw(`{"character_set": "klingon"}`),
				"a client-only character set":      raw(`{"character_set": "sjis"}`),
				"a locale with a quote":            raw(`{"collate": "C'"}`),
				"an extension the plan lacks":      raw(`{"extensions": ["postgis"]}`),
				"an extension twice":               raw(`{"extensions": ["citext", "citext"]}`),
				"an extension with SQL":            raw(`{"extensions": ["citext; DROP TABLE x"]}`),
				"a number as character set":        raw(`{"character_set": 8}`),
				"a string instead of extensions":   raw(`{"extensions": "citext"}`),
				"a binding's parameter":            raw(`{"role": "read_only"}`),
				"a key in the wrong case":          raw(`{"Collate": "C"}`),
				"a number among the extensions":    raw(`{"extensions": [1]}`),
				"an upper-case extension's name":   raw(`{"extensions": ["CITEXT"]}`),
				"an empty name of an extension":    raw(`{"extensions": [""]}`),
				"a locale that begins with a dash": raw(`{"collate": "-C"}`),
			},
			Update: map[string]json.RawMessage{
				"another character set":       raw(`{"character_set": "latin1"}`),
				"another collation":           raw(`{"collate": "C"}`),
				"an extension the plan lacks": raw(`{"extensions": ["postgis"]}`),
			},
			Bind: map[string]json.RawMessage{
				"an unknown role":      raw(`{"role": "superuser"}`),
				"an empty role":        raw(`{"role": ""}`),
				"roles as a list":      raw(`{"role": ["read_only"]}`),
				"a role in upper case": raw(`{"role": "READ_ONLY"}`),
			},
		},
		ReadOnly: raw(`{"role": "read_only"}`),
		Reach:    reach,
		Break:    waysToBreak(),
		Block:    s.blocks(),
		Limits:   limitsThatHold(s.version),
		Left:     s.leftOf,
		Fill:     fillAll,
	}
}

// proxied is the configuration for a proxy at address; applications connect to the server.
func (s *testServer) proxied(address, prefix string) json.RawMessage {
	u := *s.admin
	u.Host = address
	raw, err := json.Marshal(map[string]any{"url": u.String(), "host": s.admin.Hostname(), "port": json.Number(s.admin.Port()), "prefix": prefix})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

// leftOf looks for databases, roles and sessions of an instance, and for memberships of the
// administrator that should have been temporary.
func (s *testServer) leftOf(ctx context.Context, instance string, bindings []string) ([]string, error) {
	quoted := make([]string, 0, len(bindings)+1)
	for _, name := range append(bindings, instance) {
		quoted = append(quoted, "'%"+name+"%'")
	}
	like := "LIKE ANY (ARRAY[" + strings.Join(quoted, ", ") + "])"
	rows, err := s.root.QueryContext(ctx, `SELECT 'database ' || datname FROM pg_database WHERE datname `+like+`
		UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname `+like+`
		UNION ALL SELECT 'session in ' || datname FROM pg_stat_activity WHERE datname `+like+`
		UNION ALL SELECT 'administrator in ' || r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
			WHERE m.member = 'chandler_admin'::regrole AND r.rolname LIKE 'suite%' AND current_setting('server_version_num')::int < 160000
		UNION ALL SELECT 'backup role in ' || r.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
			WHERE m.member = 'chandler_admin_backup'::regrole AND r.rolname `+like)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var left []string
	for rows.Next() {
		var what string
		if err := rows.Scan(&what); err != nil {
			return nil, err
		}
		left = append(left, what)
	}
	return left, rows.Err()
}

// reach tries to reach another instance, the administrator's database and the server.
func reach(t *testing.T, mine, theirs map[string]any) {
	ctx := testContext(t)
	theirName, theirUser := theirs["database"].(string), theirs["username"].(string)
	for name, change := range map[string]func(u *url.URL){
		"their database":               func(u *url.URL) { u.Path = "/" + theirName },
		"the administrator's database": func(u *url.URL) { u.Path = "/postgres" },
		"template1":                    func(u *url.URL) { u.Path = "/template1" },
		"template0":                    func(u *url.URL) { u.Path = "/template0" },
		"their user and my password": func(u *url.URL) {
			u.User = url.UserPassword(theirUser, mine["password"].(string))
			u.Path = "/" + theirName
		},
		"their owner and my password": func(u *url.URL) {
			u.User = url.UserPassword(theirName+"_owner", mine["password"].(string))
			u.Path = "/" + theirName
		},
		"the administrator and no password": func(u *url.URL) { u.User = url.User("chandler_admin") },
	} {
		u, err := url.Parse(mine["uri"].(string))
		if err != nil {
			t.Fatal(err)
		}
		change(u)
		if s, err := dial(ctx, map[string]any{"uri": u.String()}); err == nil {
			t.Errorf("%s: connected", name)
			_ = s.Close()
		}
	}
	s, err := dial(ctx, mine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, statement := range hostileStatements(theirName, theirUser, mine["database"].(string)) {
		if err := clientOf(s).run(t, statement); err == nil {
			t.Errorf("%s: was let through", statement)
		}
	}
}

// waysToBreak are what a binding's holder may do to its own role and database.
func waysToBreak() map[string]func(context.Context, map[string]any) error {
	runs := func(statement string) func(context.Context, map[string]any) error {
		return func(ctx context.Context, credentials map[string]any) error {
			s, err := dial(ctx, credentials)
			if err != nil {
				return err
			}
			defer s.Close()
			fill := strings.NewReplacer("ROLENAME", ident(credentials["username"].(string)), "DATABASE", "DATABASE "+ident(credentials["database"].(string)))
			_, err = clientOf(s).Conn.ExecContext(ctx, "SET ROLE NONE; "+fill.Replace(statement))
			return err
		}
	}
	return map[string]func(context.Context, map[string]any) error{
		"its password":                 runs("ALTER ROLE ROLENAME PASSWORD 'my own'"),
		"no password":                  runs("ALTER ROLE ROLENAME PASSWORD NULL"),
		"a library for its role":       runs("ALTER ROLE ROLENAME SET local_preload_libraries = 'missing'"),
		"a library for its role there": runs("ALTER ROLE ROLENAME IN DATABASE SET local_preload_libraries = 'missing'"),
		"a library for the database":   runs("ALTER DATABASE SET local_preload_libraries = 'missing'"),
	}
}

func hostileStatements(theirs, user, mine string) []string {
	return []string{
		"SET ROLE " + theirs + "_owner",
		"SET ROLE " + user,
		"SET SESSION AUTHORIZATION " + user,
		"SET ROLE chandler_admin",
		"GRANT " + theirs + "_owner TO CURRENT_USER",
		"GRANT chandler_admin TO CURRENT_USER",
		"GRANT pg_read_server_files TO CURRENT_USER",
		"ALTER ROLE " + user + " PASSWORD 'x'",
		"ALTER ROLE " + user + " SET search_path = x",
		"ALTER ROLE CURRENT_USER CREATEDB",
		"ALTER ROLE SESSION_USER CONNECTION LIMIT -1",
		"ALTER DATABASE " + theirs + " SET search_path = x",
		"ALTER DATABASE " + theirs + " OWNER TO CURRENT_USER",
		"ALTER DATABASE " + mine + " SET temp_file_limit = -1",
		"SET temp_file_limit = -1",
		"DROP DATABASE " + theirs,
		"CREATE DATABASE another",
		"CREATE ROLE another",
		"DROP ROLE " + user,
		"COPY (SELECT 1) TO PROGRAM 'true'",
		"COPY pg_class TO '/tmp/x'",
		"SELECT pg_read_file('/etc/passwd')",
		"SELECT rolpassword FROM pg_authid",
		"SELECT lo_import('/etc/passwd')",
		"CREATE EXTENSION postgres_fdw",
		"CREATE EXTENSION dblink",
		"CREATE FUNCTION f() RETURNS void LANGUAGE c AS 'x'",
		"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + user + "'",
		"ALTER SYSTEM SET log_statement = 'all'",
		"CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION suppress_redundant_updates_trigger()",
	}
}

func limitsThatHold(version int) []servicetest.Limit {
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	limits := []servicetest.Limit{
		{Name: "connections", Plan: raw(`{"connections": 3}`), Holds: holdsConnections},
		{Name: "connections per binding", Plan: raw(`{"connections": 9, "connections_per_binding": 2}`), Holds: holdsPerBinding},
		{Name: "statement time-out", Plan: raw(`{"statement_timeout": "100ms"}`), Holds: holdsStatementTimeout},
		{Name: "storage", Plan: raw(`{"storage": "16MB"}`), Holds: holdsStorage},
	}
	if version >= 150000 {
		limits = append(limits, servicetest.Limit{Name: "temporary files", Plan: raw(`{"temp_file_limit": "1MB"}`), Holds: holdsTemporaryFiles})
	}
	return limits
}

// openSessions opens n sessions and returns how many the server accepted.
func openSessions(t *testing.T, n int, credentials ...map[string]any) int {
	t.Helper()
	in := 0
	for i := range n {
		s, err := dial(testContext(t), credentials[i%len(credentials)])
		if err != nil {
			continue
		}
		in++
		defer s.Close()
	}
	return in
}

func holdsConnections(t *testing.T, use servicetest.Use) {
	one, two := use.Bind(t, nil), use.Bind(t, nil)
	if in := openSessions(t, 8, one, two); in != 3 {
		t.Errorf("%d sessions were let in", in)
	}
}

func holdsPerBinding(t *testing.T, use servicetest.Use) {
	one, two := use.Bind(t, nil), use.Bind(t, nil)
	if in := openSessions(t, 5, one); in != 2 {
		t.Errorf("%d sessions of one binding were let in", in)
	}
	if in := openSessions(t, 10, one, two); in != 4 {
		t.Errorf("%d sessions of two bindings were let in", in)
	}
}

func application(t *testing.T, credentials map[string]any) *client {
	t.Helper()
	return dialled(t, services.Credentials{Values: credentials})
}

func expect(t *testing.T, err error, words string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Errorf("%v, want %q", err, words)
	}
}

func holdsTemporaryFiles(t *testing.T, use servicetest.Use) {
	s := application(t, use.Bind(t, nil))
	expect(t, s.run(t, "SET work_mem = '64kB'; SELECT count(*) FROM (SELECT n FROM generate_series(1, 1000000) n ORDER BY md5(n::text)) x"), "temporary file size exceeds")
}

func holdsStatementTimeout(t *testing.T, use servicetest.Use) {
	s := application(t, use.Bind(t, nil))
	expect(t, s.run(t, "SELECT pg_sleep(5)"), "statement timeout")
}

func holdsStorage(t *testing.T, use servicetest.Use) {
	credentials := use.Bind(t, nil)
	application(t, credentials).must(t, fill)
	if note := use.Reconcile(t); !strings.HasPrefix(note, "storage: ") {
		t.Errorf("note: %q", note)
	}
	expect(t, application(t, credentials).run(t, "INSERT INTO big VALUES (1)"), "permission denied")
	application(t, credentials).must(t, "SELECT count(*) FROM big; TRUNCATE big")
	if note := use.Reconcile(t); note != "" {
		t.Errorf("note: %q", note)
	}
	application(t, credentials).must(t, "INSERT INTO big VALUES (1)")
}

// Names on the server have at most PostgreSQL's 63 bytes with any prefix.
func TestNamesFit(t *testing.T) {
	n := newNamer("abcdefgh")
	all := append(n.instance(services.InstanceName("i")).groups(), n.role(services.BindingName("i", "b")), n.spare(randomID()))
	for _, name := range all {
		if len(name) > 63 {
			t.Errorf("%s: %d bytes", name, len(name))
		}
	}
}
