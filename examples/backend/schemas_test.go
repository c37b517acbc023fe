package schemas

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func TestSuite(t *testing.T) {
	admin, err := url.Parse(embeddedtest.Database(t)) // on a real server that stops with the test
	if err != nil {
		t.Fatal(err)
	}
	server, err := sql.Open("postgres", admin.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	password, _ := admin.User.Password()
	servicetest.Run(t, servicetest.Suite{
		Definition: Definition(),
		Address:    admin.Host,
		Config: func(address string) json.RawMessage { // sometimes the address of a proxy
			through := *admin
			through.Host = address
			text, _ := json.Marshal(map[string]string{"url": through.String(), "address": admin.Host})
			return text
		},
		Secrets:   []string{password},
		Plan:      json.RawMessage(`{"connections": 20}`),
		OtherPlan: json.RawMessage(`{"connections": 30}`),
		Create:    []json.RawMessage{json.RawMessage(`{}`)},
		Bind:      []json.RawMessage{json.RawMessage(`{}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{"a plan's key": json.RawMessage(`{"connections": 1}`)},
		},
		Reach: reach,
		Fill:  fill,
		Left: func(ctx context.Context, instance string, bindings []string) (left []string, err error) {
			names := pq.StringArray{"s_" + instance, "c_" + instance}
			for _, b := range bindings {
				names = append(names, "b_"+b)
			}
			var found pq.StringArray
			err = server.QueryRowContext(ctx, `SELECT coalesce(array_agg(name), '{}') FROM (SELECT rolname::text AS name FROM pg_roles
				UNION ALL SELECT nspname::text FROM pg_namespace) there WHERE name = ANY ($1)`, names).Scan(&found)
			return found, err
		},
	})
}

// The broker accepts the backend's catalog.
func TestCatalog(t *testing.T) {
	c, err := catalog.Parse("catalog.yml", catalogYAML, []services.Definition{Definition()}, func(name string) (string, bool) {
		return "postgres://broker:secret@127.0.0.1:5432/shared", name == "SCHEMAS_ADMIN_URL"
	})
	if err != nil || len(c.Services()[0].Plans) != 1 {
		t.Error(c, err)
	}
}

// fill makes what a copy has to bring back, and tables that act when they are read or written.
func fill(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	exec(t, mine, `CREATE TABLE "odd ""names""" ("a column" text[], n numeric(10,2) NOT NULL, at timestamp(3) with time zone, PRIMARY KEY (n));
		INSERT INTO "odd ""names""" SELECT ARRAY['{"quoted"}', NULL, E'\\ \t'], i / 7.0, '2026-03-29 01:59:59.123+01' FROM generate_series(1, 1000) i;
		INSERT INTO "odd ""names""" VALUES (NULL, -1, NULL);
		CREATE TABLE guarded (n int);
		CREATE FUNCTION climb() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'ALTER ROLE ' || session_user || ' CREATEROLE'; RETURN true; END $$;
		CREATE POLICY climb ON guarded USING (climb());
		ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
		INSERT INTO guarded VALUES (1)`)
	all := `SELECT md5(string_agg(o::text, '' ORDER BY n)) || (SELECT count(*) FROM guarded) FROM "odd ""names""" o`
	want := query(t, mine, all)
	return func(t *testing.T, theirs map[string]any) {
		if got := query(t, theirs, all); got != want {
			t.Errorf("the copy contains %s, want %s", got, want)
		}
	}
}

func exec(t *testing.T, credentials map[string]any, statements string) {
	s, err := dial(t.Context(), credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.(*session).ExecContext(t.Context(), statements); err != nil {
		t.Fatal(err)
	}
}

func query(t *testing.T, credentials map[string]any, statement string) (result string) {
	s, err := dial(t.Context(), credentials)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.(*session).QueryRowContext(t.Context(), statement).Scan(&result); err != nil {
		t.Fatal(err)
	}
	return result
}

// reach uses one tenant's credentials to try to access another tenant's schema.
func reach(t *testing.T, mine, theirs map[string]any) {
	s, err := dial(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	other, err := dial(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var schema string
	if err := other.(*session).QueryRowContext(t.Context(), "SELECT current_schema()").Scan(&schema); err != nil {
		t.Fatal(err)
	}
	for _, attempt := range []string{
		"SELECT * FROM %s.probe", "INSERT INTO %s.probe VALUES ('a', 'b')", "DROP TABLE %s.probe", "CREATE TABLE %s.mine (n int)",
		"ALTER SCHEMA %[1]s RENAME TO mine", "DROP SCHEMA %s CASCADE", "SET ROLE %s", "GRANT %s TO CURRENT_USER",
	} {
		statement := fmt.Sprintf(attempt, pq.QuoteIdentifier(schema))
		if _, err := s.(*session).ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s is allowed", statement)
		}
	}
}
