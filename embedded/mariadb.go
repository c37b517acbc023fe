package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
	"syscall"
)

// ErrNoMariaDB is returned, wrapped, where this machine has no MariaDB server
// that would do. Its text says what to install.
var ErrNoMariaDB = errors.New("install the MariaDB server (Debian: apt-get install --no-install-recommends mariadb-server; Fedora: dnf install mariadb-server) or put its programs into PATH")

// MariaDBOptions says how a MariaDB server is to be run.
type MariaDBOptions struct {
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone.
	Dir string
	// Port is where the server listens. 0: the port of the last start on this
	// folder, a free one at the first.
	Port int
	// TLS is the server's identity; nil: connections are not encrypted.
	TLS *MariaDBTLS
	// NoSync gives up what a power failure would destroy, for speed: for
	// tests. A kill -9 still loses nothing.
	NoSync bool
	// Logger may be nil.
	Logger *slog.Logger
}

// MariaDBTLS is a server's identity, in PEM. The certificate must be good for
// 127.0.0.1.
type MariaDBTLS struct{ Certificate, Key []byte }

// MariaDB is a running MariaDB server. All its methods are safe for concurrent
// use.
type MariaDB struct {
	folder    *folder
	options   MariaDBOptions
	server    string // its program
	installer string // the program that fills a data folder
	port      int
	password  string
	logger    *slog.Logger
	done      chan error

	mu      sync.Mutex // serialises the start, Restart, Kill and Stop
	process *process
	closed  bool
}

// StartMariaDB runs a MariaDB server on the folder o.Dir until Stop, or until
// this process ends. The folder is filled at the first start; later starts go
// on with its data, its port and its password, also after a kill -9 of whoever
// used it before.
//
// Errors say what to install or to free.
func StartMariaDB(ctx context.Context, o MariaDBOptions) (*MariaDB, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	m := &MariaDB{folder: f, options: o, logger: logger, done: make(chan error, 1)}
	if err := m.open(ctx); err != nil {
		f.close()
		return nil, err
	}
	return m, nil
}

func (m *MariaDB) open(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.initialise(ctx); err != nil {
		return err
	}
	if err := m.choosePort(ctx); err != nil {
		return err
	}
	return m.run(ctx)
}

// Host is the address the server listens on: loopback.
func (m *MariaDB) Host() string { return loopback }

// Port is the TCP port the server listens on.
func (m *MariaDB) Port() int { return m.port }

// URL is root's, for a database; empty: for none. It holds root's password.
func (m *MariaDB) URL(database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(mariaDBRoot, m.password), Host: m.address(), Path: "/" + database}
	return u.String()
}

func (m *MariaDB) address() string { return net.JoinHostPort(loopback, strconv.Itoa(m.port)) }

// Done receives an error when the server ends without Stop, Kill or Restart,
// and is closed by Stop.
func (m *MariaDB) Done() <-chan error { return m.done }

// Restart stops the server, whatever state it is in, and starts it again with
// the same data on the same port. Sessions are cut.
func (m *MariaDB) Restart(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("the MariaDB server in %s was stopped for good", m.folder.root)
	}
	if err := m.halt(ctx); err != nil {
		return err
	}
	return m.run(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (m *MariaDB) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if process := m.process; process != nil {
		m.process = nil
		process.kill()
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says; the data stays intact even so.
// Stopping twice is no error.
func (m *MariaDB) Stop(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	defer m.folder.close()
	err := m.halt(ctx)
	close(m.done)
	return err
}

// halt stops the server without telling Done.
func (m *MariaDB) halt(ctx context.Context) error {
	process := m.process
	if process == nil { // it has ended already
		return nil
	}
	m.process = nil
	return process.stop(ctx)
}

// run starts the server and waits until it accepts connections.
func (m *MariaDB) run(ctx context.Context) error {
	if err := m.prepare(); err != nil {
		return err
	}
	process, err := startProcess(program{
		path: m.server, args: m.arguments(), folder: m.folder, log: "mariadb.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // it recovers
	})
	if err != nil {
		return err
	}
	if err := m.waitReady(ctx, process); err != nil {
		process.kill()
		return err
	}
	m.process = process
	go m.watch(process)
	m.logger.InfoContext(ctx, "mysql server started", "folder", m.folder.root, "port", m.port)
	return nil
}

func (m *MariaDB) watch(process *process) {
	<-process.done
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.process != process {
		return // it was asked to end
	}
	m.process = nil
	select {
	case m.done <- process.failure():
	default: // the last end was not yet heard of
	}
}
