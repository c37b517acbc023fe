package postgres

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// blocks are a tenant's ways to keep the administrator out of its database, or from changing
// what other tenants' roles have in it.
func (s *testServer) blocks() map[string]func(t *testing.T, mine map[string]any, theirs ...map[string]any) {
	does := func(statements string) func(t *testing.T, mine map[string]any, theirs ...map[string]any) {
		return func(t *testing.T, mine map[string]any, theirs ...map[string]any) {
			bait(t, mine, theirs).must(t, forMine(strings.ReplaceAll(statements, "THEIRS", roles(theirs)), mine))
		}
	}
	all := map[string]func(t *testing.T, mine map[string]any, theirs ...map[string]any){
		"a library that does not exist":   does("ALTER DATABASE MINE SET local_preload_libraries = 'nonexistent'"),
		"no time for anything":            does("ALTER DATABASE MINE SET statement_timeout = '1ms'; ALTER DATABASE MINE SET lock_timeout = '1ms'"),
		"no connections":                  does("ALTER DATABASE MINE WITH CONNECTION LIMIT 0; REVOKE ALL ON DATABASE MINE FROM chandler_admin"),
		"an open change of the table":     does("BEGIN; GRANT SELECT ON bait TO PUBLIC"),
		"an open grant to the role":       does("BEGIN; GRANT INSERT ON bait TO THEIRS"),
		"an open change of the database":  does("BEGIN; GRANT CONNECT ON DATABASE MINE TO THEIRS; ALTER DATABASE MINE SET work_mem = '8MB'"),
		"a locked table that is all bait": does("BEGIN; LOCK TABLE bait"),
		"a closed database": func(t *testing.T, mine map[string]any, theirs ...map[string]any) {
			_ = bait(t, mine, theirs).Close()
			// A session in another database of the same customer can do that.
			s.exec(t, forMine("ALTER DATABASE MINE WITH ALLOW_CONNECTIONS false", mine))
		},
	}
	if s.version >= 140000 {
		all["sessions that end at once"] = does("ALTER DATABASE MINE SET idle_session_timeout = '1ms'")
	}
	return all
}

func forMine(statements string, mine map[string]any) string {
	return strings.ReplaceAll(statements, "MINE", ident(mine["database"].(string)))
}

func roles(theirs []map[string]any) string {
	names := make([]string, len(theirs))
	for i, c := range theirs {
		names[i] = c["username"].(string)
	}
	return idents(names)
}

// bait refers to another tenant's role in every possible way, and returns a session of the
// tenant.
func bait(t *testing.T, mine map[string]any, theirs []map[string]any) *client {
	t.Helper()
	s, named := application(t, mine), roles(theirs)
	group := ident(theirs[0]["database"].(string) + "_owner")
	s.must(t, forMine(`CREATE TABLE bait (i int);
		GRANT SELECT ON bait TO `+named+`, `+group+` WITH GRANT OPTION;
		GRANT CONNECT, CREATE ON DATABASE MINE TO `+named+`;
		ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO `+named+`;
		CREATE POLICY p ON bait TO `+named+`, `+group+` USING (true)`, mine))
	return s
}

// The administrator can connect to a database whatever its tenant has set for it.
func TestNoSettingKeepsTheAdministratorOut(t *testing.T) {
	server, ctx := newServer(t), testContext(t)
	b := server.backend(t, "settings")
	inst := newInstance("i", nil)
	if err := servicetest.Once(b).Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	bd := newBinding(t, inst, "b", access.ReadWrite)
	c, err := servicetest.Once(b).Bind(ctx, inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	tenant, database := dialled(t, c), b.names.instance(inst.Name).database
	for _, settings := range server.hostile(t) {
		for _, setting := range settings {
			_ = tenant.run(t, "ALTER DATABASE "+ident(database)+" SET "+setting) // some are not his to set
		}
		if err := b.works(ctx, database); err != nil {
			t.Errorf("with %v: %v", settings, err)
		}
	}
	if n := server.ask(t, "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(setconfig) WHERE setrole = 0 AND datname = '"+database+"'"); len(n) < 3 {
		t.Errorf("only %s settings were tried", n)
	}
	server.removed(t, b, "settings", inst, bd)
}

// hostile returns the least, a small, a large and the greatest value of every
// setting, and some settings that pg_settings does not show.
func (s *testServer) hostile(t *testing.T) [][]string {
	t.Helper()
	var all [][]string
	for i := 1; i <= 4; i++ {
		list := s.ask(t, `SELECT string_agg(format('%I = %L', name, value), E'\n') FROM pg_settings, LATERAL (
			SELECT (CASE vartype WHEN 'bool' THEN ARRAY['on', 'off', 'on', 'off'] WHEN 'enum' THEN enumvals
				WHEN 'string' THEN ARRAY['nonexistent', 'SQL_ASCII', 'Postgres, DMY', ''] ELSE ARRAY[min_val, '1', '1000', max_val] END)[`+strconv.Itoa(i)+`] AS value) v
			WHERE context IN ('user', 'superuser') AND value IS NOT NULL`)
		all = append(all, append(strings.Split(list, "\n"), "role = 'pg_monitor'", "session_authorization = 'nobody'", "seed = '1'", "a.b = 'c'"))
	}
	return all
}

// works checks that the administrator can work in a tenant's database: it connects, pauses
// and changes something, with the server's own settings.
func (b *backend) works(ctx context.Context, database string) error {
	return b.work(ctx, shared, namesOf(database), "", []string{versionPart}, func(ctx context.Context, s *session, _ *state) error {
		want, err := s.settings(ctx)
		if err != nil {
			return err
		}
		return b.inDatabase(ctx, s, database, func(t *session) error {
			if err := t.Exec(ctx, "SELECT pg_catalog.pg_sleep(0.02)"); err != nil {
				return err
			}
			got, err := t.settings(ctx)
			want["lock_timeout"] = got["lock_timeout"]
			if diff := cmp.Diff(want, got); diff != "" {
				return errors.Join(err, errors.New(diff))
			}
			return t.runAs(ctx, []string{database + "_owner"}, "CREATE SCHEMA made", "DROP SCHEMA made")
		})
	})
}
