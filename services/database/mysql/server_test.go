package mysql

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// testServer is a real server with an administrator.
type testServer struct {
	mariadb *embedded.MariaDB
	root    *sql.DB
	admin   *url.URL
	tls     map[string]any // of the configuration
}

const adminPassword = "administrator's-\\password"

func newServer(t testing.TB) *testServer { return newServerWith(t, nil, nil) }

func newServerWith(t testing.TB, identity *embedded.TLS, options map[string]any) *testServer {
	t.Helper()
	return administered(t, &testServer{mariadb: embeddedtest.MariaDB(t, identity), tls: options})
}

// administered gives a server its administrator.
func administered(t testing.TB, s *testServer) *testServer {
	t.Helper()
	s.root = rootOf(t, s.mariadb)
	s.exec(t, AdministratorSQL("chandler_admin", adminPassword, "chandler", "c"))
	s.admin = parsed(t, s.mariadb.URL("chandler"))
	s.admin.User = url.UserPassword("chandler_admin", adminPassword)
	return s
}

func rootOf(t testing.TB, m *embedded.MariaDB) *sql.DB {
	t.Helper()
	config, err := mysqldb.ClientConfig(map[string]any{"uri": m.URL("")})
	if err != nil {
		t.Fatal(err)
	}
	config.MultiStatements = true
	root, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func parsed(t testing.TB, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// config is the backend's configuration for a proxy at address; applications connect to the
// server.
func (s *testServer) config(address string) json.RawMessage {
	u := *s.admin
	u.Host = address
	config := map[string]any{"url": u.String(), "host": s.mariadb.Host(), "port": s.mariadb.Port()}
	for key, value := range s.tls {
		config[key] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.config(s.admin.Host))
	if err != nil {
		t.Fatal(err)
	}
	b, err := open(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// exec runs statements as root.
func (s *testServer) exec(t testing.TB, statements string) {
	t.Helper()
	if _, err := s.root.Exec(statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// column returns the one column of a query as root.
func (s *testServer) column(ctx context.Context, query string) ([]string, error) {
	var found []string
	err := database.Query(ctx, s.root, query, database.Into(&found))
	return found, err
}

// left lists everything on the server that begins with the prefix.
func (s *testServer) left(t *testing.T) []string {
	t.Helper()
	left, err := s.column(t.Context(), everything("REGEXP '^c_'"))
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// everything selects databases, accounts and their rights, marks, sessions and routines whose
// names fit.
func everything(fit string) string {
	return `SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME ` + fit + `
		UNION SELECT CONCAT('account ', User) FROM mysql.global_priv WHERE User ` + fit + `
		UNION SELECT CONCAT('rights of ', User, ' on ', Db) FROM mysql.db WHERE User ` + fit + ` OR REPLACE(Db, CHAR(92), '') ` + fit + ` AND User NOT LIKE 'chandler%'
		UNION SELECT CONCAT('mark ', name) FROM chandler.full_databases WHERE name ` + fit + `
		UNION SELECT CONCAT('routine ', name) FROM mysql.proc WHERE db ` + fit + `
		UNION SELECT CONCAT('session of ', USER) FROM information_schema.PROCESSLIST WHERE USER ` + fit + ` OR DB ` + fit
}

func (s *testServer) nothingLeft(t *testing.T) {
	t.Helper()
	if left := s.left(t); len(left) > 0 {
		t.Errorf("left on the server: %v", left)
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newInstance(id string, change func(*instance)) instance {
	inst := instance{ID: id, Name: services.InstanceName(id)}
	inst.Plan.SetDefaults()
	if change != nil {
		change(&inst)
	}
	return inst
}

func newBinding(t testing.TB, inst instance, id string, role access.Role) binding {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	return binding{ID: id, Name: services.BindingName(inst.ID, id), Params: BindingParams{Role: role}, Seed: seed}
}

// bound makes a binding and returns it with what its application reads.
func bound(t *testing.T, b *backend, inst instance, id string, role access.Role) (binding, services.Credentials) {
	t.Helper()
	bd := newBinding(t, inst, id, role)
	c, err := servicetest.Once(b).Bind(testContext(t), inst, bd)
	if err != nil {
		t.Fatal(err)
	}
	return bd, c
}

// dialled opens an application's session on what Bind returned.
func dialled(t *testing.T, c services.Credentials) *client {
	t.Helper()
	s, err := mysqldb.Dial(testContext(t), c.Values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return clientOf(s)
}

// client is an application's session.
type client struct{ *database.Session }

func clientOf(s services.Session) *client { return &client{s.(*database.Session)} }

// run runs statements as the application, one after the other.
func (c *client) run(t *testing.T, statements ...string) error {
	t.Helper()
	for _, statement := range statements {
		if _, err := c.Conn.ExecContext(testContext(t), statement); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) must(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		if err := c.run(t, statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

// ask returns the one value of a query as the application.
func (c *client) ask(t *testing.T, query string) string {
	t.Helper()
	var text string
	if err := c.Conn.QueryRowContext(testContext(t), query).Scan(&text); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return text
}

// eventually fails t if something does not become true.
func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the condition did not become true in two minutes")
		}
	}
}
