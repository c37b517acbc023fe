package embedded

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"

	driver "github.com/go-sql-driver/mysql"
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
	copied    string // the data to begin with; empty: none
}

// StartMariaDB runs a MariaDB server until Stop, or until this process ends. Without
// identity, connections are not encrypted. Errors say what to install, or which port to
// free.
func StartMariaDB(ctx context.Context, o Options, identity *TLS) (*MariaDB, error) {
	m := &MariaDB{options: o, tls: identity}
	m.title = "MariaDB server"
	return startServer(ctx, o.Dir, m)
}

// StartMariaDBCopy is StartMariaDB, whose first start copies the data of a stopped server: the
// folder data in that server's own.
func StartMariaDBCopy(ctx context.Context, o Options, data string) (*MariaDB, error) {
	m := &MariaDB{options: o, copied: data}
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

func startMariaDBKind(ctx context.Context, o KindOptions) (Running, error) {
	m, err := StartMariaDB(ctx, o.Options, nil)
	if err != nil {
		return nil, err
	}
	m.account = o.Account
	if err := m.makeAccount(ctx); err != nil {
		return nil, errors.Join(err, m.Stop(ctx))
	}
	return m, nil
}

func (m *MariaDB) makeAccount(ctx context.Context) error {
	root, err := OpenMariaDB(m.URL(""))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.ExecContext(ctx, m.account.SQL); err != nil {
		return fmt.Errorf("make the broker's account on the MariaDB server: %w", err)
	}
	return nil
}

// Access implements Running.
func (m *MariaDB) Access(connect func(string) string) (variables, secrets map[string]string) {
	account := url.UserPassword(m.account.Name, m.account.Password)
	u := url.URL{Scheme: "mysql", User: account, Host: connect(m.Address()), Path: m.account.Name}
	return map[string]string{"MYSQL_ADMIN_URL": u.String()}, map[string]string{"MariaDB's root password": m.password}
}

// OpenMariaDB connects to a MariaDB server by a mysql:// URL. A query may contain several
// statements.
func OpenMariaDB(text string) (*sql.DB, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("invalid URL of the MariaDB server") // err would quote it
	}
	config := driver.NewConfig()
	config.Net, config.Addr, config.MultiStatements = "tcp", u.Host, true
	config.User, config.DBName = u.User.Username(), strings.Trim(u.Path, "/")
	config.Passwd, _ = u.User.Password()
	connector, err := driver.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("configure the connection to the MariaDB server: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// Holds implements Running. It lists databases and accounts.
func (m *MariaDB) Holds(ctx context.Context) ([]string, error) {
	root, err := OpenMariaDB(m.URL(""))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	rows, err := root.QueryContext(ctx, `select schema_name from information_schema.schemata
			where schema_name not in ('information_schema', 'mysql', 'performance_schema', 'sys', ?)
		union select user from mysql.global_priv where user not in ('root', 'mysql', 'mariadb.sys', 'PUBLIC', ?, 'chandler_definer')
		union select db from mysql.db where user not in (?, 'chandler_definer')`, m.account.Name, m.account.Name, m.account.Name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	names := []string{}
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, rows.Err()
}
