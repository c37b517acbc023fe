package embedded

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	loopback  = "127.0.0.1"
	superuser = "postgres"

	passwordFile = "superuser-password"
	portFile     = "port"
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
	folder   *folder
	binaries binaries
	port     int
	password string
	noSync   bool
	logger   *slog.Logger
	done     chan error

	mu     sync.Mutex // serialises Restart, Kill and Stop
	server *process
	closed bool
}

// StartPostgres runs a PostgreSQL server on the folder o.Dir until Stop, or
// until this process ends. The folder is filled at the first start; later
// starts go on with its data and its port, also after a kill -9 of whoever
// used it before, of whom nothing is left running.
//
// Errors say what to install or to free.
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &Postgres{folder: f, noSync: o.NoSync, logger: logger, done: make(chan error, 1)}
	if err := s.open(ctx, o.Port); err != nil {
		f.close()
		return nil, err
	}
	return s, nil
}

func (s *Postgres) open(ctx context.Context, port int) error {
	if err := endLeftovers(ctx, s.folder.root); err != nil {
		return err
	}
	if err := s.initialise(ctx); err != nil {
		return err
	}
	password, err := s.folder.readFile(passwordFile)
	if err != nil {
		return err
	}
	s.password = string(password)
	if s.port, err = s.choosePort(ctx, port); err != nil {
		return err
	}
	return s.run(ctx)
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
		Host:     net.JoinHostPort(loopback, strconv.Itoa(s.port)),
		Path:     "/" + database,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Done receives an error when the server ends without Stop or Restart, and is
// closed by Stop.
func (s *Postgres) Done() <-chan error { return s.done }

// Restart stops the server, whatever state it is in, and starts it again with
// the same data on the same port. Sessions are cut.
func (s *Postgres) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("the server in %s was stopped for good", s.folder.root)
	}
	if err := s.halt(ctx); err != nil {
		return err
	}
	if err := endLeftovers(ctx, s.folder.root); err != nil {
		return err
	}
	return s.run(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (s *Postgres) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		s.server.kill()
		s.ended(s.server)
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says; the data stays intact even so.
// Stopping twice is no error.
func (s *Postgres) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	defer s.folder.close()
	err := s.halt(ctx)
	close(s.done)
	return err
}

// halt stops the server without telling Done.
func (s *Postgres) halt(ctx context.Context) error {
	server := s.server
	if server == nil { // it has ended already
		return nil
	}
	s.server = nil
	return server.stop(ctx)
}

// run starts the server and waits until it accepts connections.
func (s *Postgres) run(ctx context.Context) error {
	// A number in this file that is another process's by now, as is likely in
	// a container, would keep the server from starting.
	if err := removeFile(s.folder.path(pidFile)); err != nil {
		return err
	}
	server, err := startProcess(s.program())
	if err != nil {
		return err
	}
	if err := s.waitReady(ctx, server); err != nil {
		server.kill()
		return err
	}
	s.server = server
	go s.watch(server)
	s.logger.InfoContext(ctx, "database server started", "folder", s.folder.root, "port", s.port, "version", s.binaries.version)
	return nil
}

func (s *Postgres) watch(server *process) {
	<-server.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == server {
		s.ended(server)
	}
}

// ended tells Done of an end that was not asked for.
func (s *Postgres) ended(server *process) {
	s.server = nil
	select {
	case s.done <- server.failure():
	default: // the last end was not yet heard of
	}
}

func (s *Postgres) program() program {
	settings := []string{
		"listen_addresses=" + loopback,
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=",
		"max_connections=200",
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

// waitReady waits for the word that pg_ctl waits for too: the last line of
// postmaster.pid.
func (s *Postgres) waitReady(ctx context.Context, server *process) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		content, err := s.folder.readFile(pidFile)
		if err != nil {
			return err
		}
		lines := bytes.Split(content, []byte("\n"))
		if len(lines) >= 8 && string(lines[0]) == strconv.Itoa(server.child.Pid) && string(bytes.TrimSpace(lines[7])) == "ready" {
			return nil
		}
		select {
		case <-tick.C:
		case <-server.done:
			return server.failure()
		case <-ctx.Done():
			return fmt.Errorf("the database server did not become ready in time, its log is %s: %w", server.logFile, ctx.Err())
		}
	}
}

func newPassword() string { return rand.Text() }
