package embedded

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
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
	*child
	options   MariaDBOptions
	server    string // its program
	installer string // the program that fills a data folder
	port      int
	password  string
}

// StartMariaDB runs a MariaDB server on the folder o.Dir until Stop, or until
// this process ends. The folder is filled at the first start; later starts go
// on with its data, its port and its password, also after a kill -9 of whoever
// used it before.
//
// Errors say what to install or to free.
func StartMariaDB(ctx context.Context, o MariaDBOptions) (*MariaDB, error) {
	c, err := newChild("MariaDB server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	m := &MariaDB{child: c, options: o}
	own := childParts{prepare: m.prepare, program: m.program, ready: m.ready, serving: m.tell}
	if err := m.open(ctx, own, m.fill); err != nil {
		return nil, err
	}
	return m, nil
}

// Host is the address the server listens on: loopback.
func (m *MariaDB) Host() string { return loopback }

// Port is the TCP port the server listens on.
func (m *MariaDB) Port() int { return m.port }

// URL is root's, for a database; empty: for none. It holds root's password.
func (m *MariaDB) URL(database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(mariaDBRoot, m.password), Host: localAddress(m.port), Path: "/" + database}
	return u.String()
}

func (m *MariaDB) program() program {
	return program{
		path: m.server, args: m.arguments(), folder: m.folder, log: "mariadb.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // it recovers
	}
}

func (m *MariaDB) tell(ctx context.Context) error {
	m.logger.InfoContext(ctx, "mysql server started", "folder", m.folder.root, "port", m.port)
	return nil
}
