package embeddedtest

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
)

// Database makes a database for t alone on this test process's server, and returns the
// superuser's connection string. It drops the database when t ends.
func Database(t testing.TB) (url string) {
	t.Helper()
	return database(t, Postgres(t), "template0")
}

func database(t testing.TB, server *embedded.Postgres, template string) (url string) {
	t.Helper()
	name := "test_" + strings.ToLower(rand.Text())
	administer(t, server, "CREATE DATABASE "+name+" TEMPLATE "+template)
	t.Cleanup(func() { administer(t, server, "DROP DATABASE "+name+" WITH (FORCE)") })
	return server.URL(name)
}

// templates are the databases that DatabaseFrom copies, by name, with the error of their
// preparation.
var templates = struct {
	mu   sync.Mutex
	made map[string]error
}{made: map[string]error{}}

// DatabaseFrom is Database with a copy of a template. prepare fills the template, once in a
// test process.
func DatabaseFrom(t testing.TB, name string, prepare func(url string) error) (url string) {
	t.Helper()
	server := Postgres(t)
	templates.mu.Lock()
	err, made := templates.made[name]
	if !made {
		administer(t, server, "CREATE DATABASE "+name+" TEMPLATE template0")
		err = prepare(server.URL(name))
		templates.made[name] = err
	}
	templates.mu.Unlock()
	if err != nil {
		t.Fatalf("prepare the database %s: %v", name, err)
	}
	return database(t, server, name)
}

func administer(t testing.TB, server *embedded.Postgres, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended in a cleanup
	defer cancel()
	conn, err := pgx.Connect(ctx, server.URL("postgres"))
	if err != nil {
		t.Fatalf("connect to the test server: %v", err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
