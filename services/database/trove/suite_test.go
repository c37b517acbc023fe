package trove

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net/url"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The tests mostly wait for servers to start.
func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6")
	embeddedtest.Main(m)
}

func TestSuite(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	t.Cleanup(func() { cloud.nothingLeft(t, suitePrefix) })
	servicetest.Run(t, cloud.suite())
}

// changes selects the requests that change something in Keystone or Trove.
func changes(call []byte) bool {
	return !bytes.HasPrefix(call, []byte("GET ")) && !bytes.HasPrefix(call, []byte("POST /v3/auth/tokens"))
}

func (c *testCloud) suite() servicetest.Suite {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	return servicetest.Suite{
		Definition: Definition(),
		Address:    c.address,
		Config:     func(address string) json.RawMessage { return c.configOf(address, suitePrefix) },
		Apart:      func(address, name string) json.RawMessage { return c.configOf(address, suitePrefix+name) },
		Secrets:    []string{c.Identity.Broker().Password},
		Slow:       true,
		Counts:     changes,
		Plan:       raw(`{"datastore": "mysql", "version": "5.7.29", "flavor": "m1.tiny", "volume": "1GB"}`),
		OtherPlan:  raw(`{"datastore": "mysql", "version": "5.7.29", "flavor": "m1.tiny", "volume": "2GB"}`),
		Create: []json.RawMessage{
			raw(`{"character_set": "latin2", "collate": "latin2_general_ci"}`),
			raw(`{}`),
		},
		Bind:     []json.RawMessage{raw(`{}`)},
		BindSame: []json.RawMessage{raw(`{"role": "read_write"}`)},
		Invalid: servicetest.Invalid{
			Create: map[string]json.RawMessage{
				"an unknown character set":           raw(`{"character_set": "klingon"}`),
				"a character set in upper case":      raw(`{"character_set": "LATIN2"}`),
				"a collation of another set":         raw(`{"character_set": "latin2", "collate": "latin1_general_ci"}`),
				"a collation of a similar set":       raw(`{"character_set": "utf8", "collate": "utf8mb4_bin"}`),
				"a collation of no set":              raw(`{"collate": "klingon"}`),
				"a collation with SQL":               raw(`{"collate": "x; DROP DATABASE mysql"}`),
				"a number as character set":          raw(`{"character_set": 8}`),
				"a binding's parameter":              raw(`{"role": "read_write"}`),
				"another backend's parameter":        raw(`{"extensions": ["citext"]}`),
				"a collation with a line's end":      raw(`{"collate": "latin2_bin\n"}`),
				"a collation longer than any":        raw(`{"collate": "` + strings.Repeat("a", 65) + `"}`),
				"a key in the wrong case":            raw(`{"Collate": "latin2_bin"}`),
				"what only the plan may say, flavor": raw(`{"flavor": "m1.xlarge"}`),
			},
			Bind: map[string]json.RawMessage{
				"read only, which Trove lacks": raw(`{"role": "read_only"}`),
				"an unknown role":              raw(`{"role": "root"}`),
				"an empty role":                raw(`{"role": ""}`),
				"a host":                       raw(`{"host": "%"}`),
			},
		},
		Reach: reach,
		Block: map[string]func(*testing.T, map[string]any, ...map[string]any){
			"a table lock": holdsTable,
		},
		Break: map[string]func(context.Context, map[string]any) error{
			"SET PASSWORD": breaks("SET PASSWORD = PASSWORD('mine')"),
			"DROP DATABASE": func(ctx context.Context, credentials map[string]any) error {
				return breaks("DROP DATABASE "+credentials["database"].(string))(ctx, credentials)
			},
		},
		Fill: fill,
		Left: c.leftOf,
	}
}

// leftOf looks for everything that is named after the instance. Its bindings have nothing
// outside of its server.
func (c *testCloud) leftOf(ctx context.Context, instance string, _ []string) ([]string, error) {
	return c.left(ctx, instance)
}

// breaks runs a statement as the application.
func breaks(statement string) func(context.Context, map[string]any) error {
	return func(ctx context.Context, credentials map[string]any) error {
		s, err := mysqldb.Dial(ctx, credentials)
		if err != nil {
			return err
		}
		_, err = s.(*database.Session).Conn.ExecContext(ctx, statement)
		return errors.Join(err, s.Close())
	}
}

// reach tries to reach another instance, and the server itself.
func reach(t *testing.T, mine, theirs map[string]any) {
	ctx := testContext(t)
	for name, change := range map[string]func(u *url.URL){
		"their server":                    func(u *url.URL) { u.Host = parsed(t, theirs["uri"].(string)).Host; u.Path = "/" },
		"their database on my server":     func(u *url.URL) { u.Path = "/" + theirs["database"].(string) },
		"their user with my password":     func(u *url.URL) { u.User = url.UserPassword(theirs["username"].(string), mine["password"].(string)) },
		"the server's own database":       func(u *url.URL) { u.Path = "/mysql" },
		"root without a password":         func(u *url.URL) { u.User = url.User("root"); u.Path = "/" },
		"Trove's user without a password": func(u *url.URL) { u.User = url.User("os_admin"); u.Path = "/" },
		"nobody":                          func(u *url.URL) { u.User = url.User(""); u.Path = "/" },
		"their server, root, no password": func(u *url.URL) {
			u.Host = parsed(t, theirs["uri"].(string)).Host
			u.User = url.User("root")
			u.Path = "/"
		},
	} {
		if name == "their database on my server" && theirs["database"] == mine["database"] {
			continue // one was restored from a backup of the other, and has a database of that name
		}
		u := parsed(t, mine["uri"].(string))
		change(u)
		if s, err := mysqldb.Dial(ctx, map[string]any{"uri": u.String()}); err == nil {
			_ = s.Close()
			t.Errorf("let in: %s", name)
		}
	}
	s, err := mysqldb.Dial(ctx, mine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, statement := range []string{
		"SELECT * FROM mysql.user", "CREATE USER mine IDENTIFIED BY 'p'", "SET GLOBAL max_connections = 10000", "CREATE DATABASE mine",
		"SELECT LOAD_FILE('/etc/passwd')", "SELECT 1 INTO OUTFILE '/tmp/trove'", "GRANT ALL ON *.* TO CURRENT_USER()", "FLUSH TABLES", "SHUTDOWN",
		"SELECT password FROM mysql.global_priv", "INSTALL SONAME 'ha_blackhole'",
	} {
		var value any
		if err := s.(*database.Session).Conn.QueryRowContext(ctx, statement).Scan(&value); err == nil && value != nil {
			t.Errorf("allowed: %s", statement)
		} else if err != nil && strings.Contains(err.Error(), "no rows") {
			t.Errorf("allowed: %s", statement)
		}
	}
}

// holdsTable locks a table of the own instance.
func holdsTable(t *testing.T, mine map[string]any, _ ...map[string]any) {
	s, err := mysqldb.Dial(testContext(t), mine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	c := &client{s.(*database.Session)}
	c.must(t, "CREATE TABLE held (n INT)", "LOCK TABLES held WRITE")
}

// fill makes what a database may contain, all of it defined by the binding's user.
func fill(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	open := func(t *testing.T, credentials map[string]any) *client {
		s, err := mysqldb.Dial(testContext(t), credentials)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return &client{s.(*database.Session)}
	}
	open(t, mine).must(t,
		"CREATE TABLE filled (n INT PRIMARY KEY, text VARCHAR(100) CHARACTER SET utf8mb4, data BLOB)",
		"INSERT INTO filled VALUES (1, 'Žluťoučký kůň', x'00ff0a'), (2, NULL, REPEAT('x', 60000))",
		"CREATE VIEW doubled AS SELECT 2 * n AS n FROM filled",
		"CREATE TABLE noted (n INT)",
		"CREATE TRIGGER noting AFTER INSERT ON filled FOR EACH ROW INSERT INTO noted VALUES (NEW.n)",
		"CREATE FUNCTION total() RETURNS INT READS SQL DATA RETURN (SELECT SUM(n) FROM filled)",
	)
	return func(t *testing.T, theirs map[string]any) {
		c := open(t, theirs)
		for query, want := range map[string]string{
			"SELECT GROUP_CONCAT(n, ' ', COALESCE(text, '-'), ' ', MD5(data) ORDER BY n) FROM filled": "1 Žluťoučký kůň daabad9de4c13765beb6e0a4ea14f25f,2 - e10e00213711c5bf7eef265049936551",
			"SELECT SUM(n) FROM doubled": "6",
			"SELECT total()":             "3",
		} {
			if got := c.ask(t, query); got != want {
				t.Errorf("%s: %q, want %q", query, got, want)
			}
		}
		c.must(t, "INSERT INTO filled VALUES (10, 'new', NULL)", "DELETE FROM filled WHERE n = 10")
		if got := c.ask(t, "SELECT COUNT(*) FROM noted WHERE n = 10"); got == "0" {
			t.Error("the trigger is gone")
		}
	}
}
