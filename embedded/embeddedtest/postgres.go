// Package embeddedtest gives tests real servers: one of a kind for each test
// process, started when the first test asks for it.
package embeddedtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/embedded"
)

const timeout = 3 * time.Minute

// shared is this test process's server: what all tests of a package share must
// be reachable from each of them, and nothing hands it to them.
var shared server

// Postgres returns this test process's PostgreSQL server. Where PostgreSQL is
// not installed the test is skipped, and fails when CI=true.
func Postgres(t testing.TB) *embedded.Postgres {
	t.Helper()
	server, err := shared.get()
	if errors.Is(err, embedded.ErrNoPostgres) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// PostgresOn starts a PostgreSQL server for t alone on a folder of its own, on a
// Disk for instance. Tests may restart and kill it. Otherwise it is as Postgres.
func PostgresOn(t testing.TB, dir string) *embedded.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := embedded.StartPostgres(ctx, embedded.PostgresOptions{Dir: dir, NoSync: true})
	if errors.Is(err, embedded.ErrNoPostgres) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}

// Database makes a database for t alone on this test process's server, drops
// it when t ends, and returns the superuser's connection string for it.
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

// templates are the databases that DatabaseFrom copies, by name, or why they could
// not be prepared.
var templates = struct {
	mu   sync.Mutex
	made map[string]error
}{made: map[string]error{}}

// DatabaseFrom is Database with a copy of what prepare makes of an empty one, which
// it does once in a test process.
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

// Main runs a package's tests, stops the server they used and removes its
// folder, and then does what else there is to do at the end:
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
//
// Without it the server still ends with the process, and the folder is removed
// by the next test process that starts a server.
func Main(m *testing.M, after ...func() error) {
	code := m.Run()
	for _, end := range append([]func() error{shared.stop}, after...) {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}
