package embedded

import (
	"context"
	"errors"
	"net/url"
)

// ErrNoMariaDB says that this machine has no suitable MariaDB server, and what to install.
var ErrNoMariaDB = errors.New("install the MariaDB server (Debian: apt-get install --no-install-recommends mariadb-server; Fedora: dnf install mariadb-server) or put its programs into PATH")

// MariaDB is a running MariaDB server. It is safe for concurrent use.
type MariaDB struct {
	child
	options   Options
	tls       *TLS
	server    string // its program
	installer string // the program that fills a data folder
	password  string
	account   Account
}

// StartMariaDB runs a MariaDB server until Stop, or until this process ends. Without
// identity, connections are not encrypted. Errors say what to install, or which port to
// free.
func StartMariaDB(ctx context.Context, o Options, identity *TLS) (*MariaDB, error) {
	m := &MariaDB{options: o, tls: identity}
	m.title = "MariaDB server"
	return startServer(ctx, o.Dir, m)
}

// URL is root's URL of a database, or of none if that is empty. It contains the password.
func (m *MariaDB) URL(database string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(mariaDBRoot, m.password), Host: localAddress(m.port), Path: "/" + database}
	return u.String()
}

// program needs no orderly end when this process dies: the data recovers.
func (m *MariaDB) program() program {
	return program{path: m.server, args: m.arguments(), log: "mariadb.log"}
}
