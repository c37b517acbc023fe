package postgres

import (
	"os"
	"os/exec"
	"regexp"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest"
)

// The README's commands move an instance's data to another instance.
func TestDumpAndRestore(t *testing.T) {
	if os.Getenv(serverVariable) != "" {
		t.Skip("pg_dump may be older than that server")
	}
	if _, err := exec.LookPath("pg_dump"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("pg_dump is missing (Debian: apt-get install --no-install-recommends postgresql-client)")
	}
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?s)```sh\n(pg_dump.*?)```").FindSubmatch(text)
	if commands == nil {
		t.Fatal("the README has no commands")
	}
	f := newFull(t, "dumped")
	other, _, creds := f.neighbour(t)
	if _, err := servicetest.Once(f.b).Reconcile(testContext(t), nil, []instance{f.inst, other}); err != nil { // both have the functions
		t.Fatal(err)
	}
	f.writer.must(t, `CREATE EXTENSION citext; CREATE SCHEMA s;
		CREATE TABLE s.parents (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name citext UNIQUE NOT NULL);
		CREATE TABLE children (parent int REFERENCES s.parents, at timestamptz DEFAULT now()) PARTITION BY RANGE (at);
		CREATE TABLE children_all PARTITION OF children DEFAULT;
		CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM s.parents;
		CREATE FUNCTION definer() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM s.parents';
		INSERT INTO s.parents (name) SELECT 'name ' || n FROM generate_series(1, 100) n; INSERT INTO children VALUES (1), (2);
		REFRESH MATERIALIZED VIEW counted; SELECT lo_from_bytea(4711, 'large'); GRANT SELECT ON children TO PUBLIC`)

	sh := exec.CommandContext(testContext(t), "sh", "-e", "-c", string(commands[1]))
	sh.Dir = t.TempDir()
	old, _ := f.writerCreds.Values["uri"].(string)
	restored, _ := creds.Values["uri"].(string)
	sh.Env = append(os.Environ(), "OLD="+old, "NEW="+restored)
	if output, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	c := dialled(t, creds)
	owner := f.b.names.instance(other.Name).owner
	for query, want := range map[string]string{
		"SELECT definer()":                             "100",
		"SELECT * FROM counted":                        "100",
		"SELECT count(*) FROM children":                "2",
		"SELECT id FROM s.parents WHERE name='NAME 7'": "7",
		"SELECT convert_from(lo_get(4711), 'utf8')":    "large",
		"SELECT string_agg(DISTINCT relowner::regrole::text, ', ') FROM pg_class WHERE relnamespace IN ('s'::regnamespace, 'public'::regnamespace)": owner,
	} {
		if got := c.asks(t, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	c.must(t, "INSERT INTO s.parents (name) VALUES ('new'); DROP TABLE children")
	f.remove2(t, other)
}
