package embedded

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"strconv"
	"syscall"
)

const (
	superuser = "postgres"

	passwordFile = "superuser-password"
	postgresLog  = "postgres.log"
)

// PostgresOptions says how a PostgreSQL server is to be run.
type PostgresOptions struct {
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone.
	Dir string
	// Port is where the server listens. 0: the port of the last start on this
	// folder, a free one at the first.
	Port int
	// NoSync gives up what a power failure would destroy, for speed: for
	// tests. A kill -9 still loses nothing.
	NoSync bool
	// Logger may be nil.
	Logger *slog.Logger
}

// Postgres is a running PostgreSQL server. All its methods are safe for
// concurrent use.
type Postgres struct {
	*child
	binaries binaries
	port     int
	password string
	noSync   bool
}

// StartPostgres runs a PostgreSQL server on the folder o.Dir until Stop, or
// until this process ends. The folder is filled at the first start; later
// starts go on with its data and its port, also after a kill -9 of whoever
// used it before, of whom nothing is left running.
//
// Errors say what to install or to free.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	c, err := newChild("PostgreSQL server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &Postgres{child: c, noSync: o.NoSync}
	own := childParts{
		prepare: s.prepare, program: s.program, ready: s.ready, serving: s.tell,
		farewell: []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT}, // "fast", "immediate"
	}
	if err := s.open(ctx, own, func(ctx context.Context) error { return s.fill(ctx, o.Port) }); err != nil {
		return nil, err
	}
	return s, nil
}

// Host is the address the server listens on: loopback.
func (s *Postgres) Host() string { return loopback }

// Port is the TCP port the server listens on.
func (s *Postgres) Port() int { return s.port }

// URL is the superuser's connection string (libpq's URI) for a database. It
// holds the superuser's password.
func (s *Postgres) URL(database string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     localAddress(s.port),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Program is the path of one of the programs that came with the server, such as pgbench.
func (s *Postgres) Program(name string) string { return s.binaries.path(name) }

// prepare removes the file with the process number of an earlier run. Another process
// may have that number by now, as is likely in a container, and the server would
// refuse to start.
func (s *Postgres) prepare(context.Context) error { return removeFile(s.folder.path(pidFile)) }

func (s *Postgres) tell(ctx context.Context) error {
	s.logger.InfoContext(ctx, "database server started", "folder", s.folder.root, "port", s.port, "version", s.binaries.version)
	return nil
}

func (s *Postgres) program() program {
	settings := []string{
		"listen_addresses=" + loopback,
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=",
		"max_connections=200",
		"max_locks_per_transaction=256", // what administrator.sql asks for
		"shared_buffers=128MB",
		"timezone=UTC",
		// A statement that fails is not logged, nor are the values it met:
		// it may be the one that sets a password.
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
		path: s.binaries.path("postgres"), args: args, folder: s.folder, log: postgresLog,
		polite: syscall.SIGINT, orphaned: syscall.SIGINT, // "fast shutdown": sessions are cut
	}
}

// ready says what pg_ctl waits for too: the last line of postmaster.pid.
func (s *Postgres) ready(_ context.Context, pid int) bool {
	content, err := s.folder.readFile(pidFile)
	lines := bytes.Split(content, []byte("\n"))
	return err == nil && len(lines) >= 8 && string(lines[0]) == strconv.Itoa(pid) && string(bytes.TrimSpace(lines[7])) == "ready"
}
