package postgres

import (
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "6"); err != nil { // tests that run side by side mostly wait
		panic(err)
	}
	flag.Parse()
	embeddedtest.Main(m)
}

// testServer is the real server for one test, which uses a prefix of its own.
type testServer struct {
	root    *sql.DB // the superuser
	rootURL string
	admin   *url.URL
	version int
}

// serverVariable names a superuser's URL, to test a server of another version.
const serverVariable = "CHANDLER_TEST_POSTGRES_URL"

const adminPassword = "administrators-password"

func newServer(t testing.TB) *testServer {
	t.Helper()
	rootURL := os.Getenv(serverVariable)
	if rootURL == "" {
		rootURL = embeddedtest.Postgres(t).URL("postgres")
	}
	return newServerAt(t, rootURL)
}

// newServerAt is the server at a superuser's URL.
func newServerAt(t testing.TB, rootURL string) *testServer {
	t.Helper()
	root, err := sql.Open("postgres", rootURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	// Two sessions must not change the administrator at the same time.
	if _, err := root.Exec("BEGIN; SELECT pg_advisory_xact_lock(1); " + AdministratorSQL("chandler_admin", adminPassword) + "; COMMIT"); err != nil {
		t.Fatal(err)
	}
	admin, err := url.Parse(rootURL)
	if err != nil {
		t.Fatal(err)
	}
	admin.User = url.UserPassword("chandler_admin", adminPassword)
	s := &testServer{root: root, rootURL: rootURL, admin: admin}
	if s.version, err = strconv.Atoi(s.ask(t, "SHOW server_version_num")); err != nil {
		t.Fatal(err)
	}
	return s
}

// config is the backend's configuration for this server.
func (s *testServer) config(prefix string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{"url": s.admin.String(), "prefix": prefix})
	if err != nil {
		panic(err) // strings always encode
	}
	return raw
}

func (s *testServer) backend(t testing.TB, prefix string) *backend {
	t.Helper()
	config, err := services.Decode[Config](s.config(prefix))
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

// exec runs statements as the superuser.
func (s *testServer) exec(t *testing.T, statements string) {
	t.Helper()
	if _, err := s.root.Exec(statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}

// ask returns the one value of a query as the superuser.
func (s *testServer) ask(t testing.TB, query string) string {
	t.Helper()
	var answer sql.NullString
	if err := s.root.QueryRow(query).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return answer.String
}

// left lists what exists on the server under a prefix.
func (s *testServer) left(t *testing.T, prefix string) []string {
	t.Helper()
	list := s.ask(t, `SELECT string_agg(name, ',' ORDER BY name) FROM (
		SELECT datname AS name FROM pg_database UNION ALL SELECT rolname FROM pg_roles) x
		WHERE name ~ '^`+prefix+`_'`)
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// removed unbinds and deprovisions, and fails the test if anything is left under the prefix.
func (s *testServer) removed(t *testing.T, b *backend, prefix string, inst instance, bd binding) {
	t.Helper()
	ctx := testContext(t)
	if err := servicetest.Patient(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if err := servicetest.Patient(b).Deprovision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	if left := s.left(t, prefix); left != nil {
		t.Errorf("left behind: %v", left)
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

// dialled opens an application's session on what Bind returned.
func dialled(t *testing.T, c services.Credentials) *client {
	t.Helper()
	s, err := dial(testContext(t), c.Values)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return clientOf(s)
}

// client is an application's session.
type client struct{ *database.Session }

func clientOf(s services.Session) *client { return &client{s.(*database.Session)} }

// run runs statements as the application.
func (c *client) run(t *testing.T, statements string) error {
	t.Helper()
	_, err := c.Conn.ExecContext(testContext(t), statements)
	return err
}

func (c *client) must(t *testing.T, statements string) {
	t.Helper()
	if err := c.run(t, statements); err != nil {
		t.Fatalf("%s: %v", statements, err)
	}
}
