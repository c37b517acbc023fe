package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/url"
	"os"
	"strconv"
	"syscall"
)

const (
	superuser    = "postgres"
	passwordFile = "superuser-password"
)

// Postgres is a running PostgreSQL server. It is safe for concurrent use.
type Postgres struct {
	child
	binaries binaries
	password string
	noSync   bool
}

// StartPostgres runs a PostgreSQL server until Stop, or until this process ends.
// Errors say what to install, or which port to free.
func StartPostgres(ctx context.Context, o Options) (*Postgres, error) {
	s := &Postgres{noSync: o.NoSync}
	s.title, s.signals = "PostgreSQL server", []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT} // "fast", "immediate"
	return startServer(ctx, o.Dir, s)
}

// URL is the superuser's connection string for a database. It contains the password.
func (s *Postgres) URL(database string) string {
	return PostgresURL(s.Address(), superuser, s.password, database)
}

// PostgresURL is a connection string (libpq's URI) without TLS.
func PostgresURL(address, role, password, database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(role, password), Host: address, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Program is the path of a program that comes with the server, such as pgbench.
func (s *Postgres) Program(name string) string { return s.binaries.path(name) }

// prepare removes the file with the process number of an earlier run. If another process
// has that number now, as is likely in a container, the server would refuse to start.
func (s *Postgres) prepare(context.Context) error { return os.RemoveAll(s.folder.path(pidFile)) }

func (s *Postgres) program() program {
	settings := []string{
		"listen_addresses=" + loopback,
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=",
		"max_connections=200",
		"max_locks_per_transaction=256", // as administrator.sql requires
		"authentication_timeout=10s",    // likewise
		"shared_buffers=128MB",
		"timezone=UTC",
		// Neither failed statements nor their values are logged: they may set a
		// password.
		"log_min_error_statement=panic",
		"log_error_verbosity=terse",
	}
	if s.noSync {
		settings = append(settings, "fsync=off", "full_page_writes=off")
	}
	args := []string{"-D", s.folder.childPath(dataFolder)}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return program{
		path: s.binaries.path("postgres"), args: args,
		polite: syscall.SIGINT, orphaned: syscall.SIGINT, // "fast shutdown", which cuts sessions
	}
}

// ready checks what pg_ctl waits for: the last line of postmaster.pid.
func (s *Postgres) ready(_ context.Context, pid int) bool {
	content, err := s.folder.readFile(pidFile)
	lines := bytes.Split(content, []byte("\n"))
	return err == nil && len(lines) >= 8 && string(lines[0]) == strconv.Itoa(pid) && string(bytes.TrimSpace(lines[7])) == "ready"
}

const pidFile = dataFolder + "/postmaster.pid"

// fill finds the programs that fit the data, or makes new data.
func (s *Postgres) fill(ctx context.Context) error {
	version, err := s.folder.readFile(dataFolder + "/PG_VERSION")
	if err != nil {
		return err
	}
	if s.binaries, err = findPostgres(ctx, firstNumber(string(version))); err != nil {
		return err
	}
	if s.password, err = s.folder.storedSecret(passwordFile, rand.Text); err != nil {
		return err
	}
	return s.folder.makeData(ctx, s.initdb)
}

func (s *Postgres) initdb(ctx context.Context) error {
	args := []string{
		"--pgdata=" + s.folder.childPath(freshData), "--username=" + superuser,
		"--pwfile=" + s.folder.childPath(passwordFile), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8",
	}
	if s.noSync {
		args = append(args, "--no-sync")
	}
	return runProcess(ctx, s.folder, program{path: s.binaries.path("initdb"), args: args})
}
