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

func mariaDBKind() Kind {
	return Kind{Backend: "database/mysql", Folder: "mariadb", missing: ErrNoMariaDB, Start: startMariaDB}
}

func startMariaDB(ctx context.Context, o Options) (*Running, error) {
	m, err := StartMariaDB(ctx, MariaDBOptions{Dir: o.Dir, NoSync: o.NoSync})
	if err != nil {
		return nil, err
	}
	if err := m.makeAccount(ctx, o.Account); err != nil {
		return nil, errors.Join(err, m.Stop(ctx))
	}
	return &Running{
		Server: m,
		Variables: func(connect func(string) string) map[string]string {
			u := url.URL{
				Scheme: "mysql", User: url.UserPassword(o.Account.Name, o.Account.Password),
				Host: connect(localAddress(m.port)), Path: o.Account.Name,
			}
			return map[string]string{"MYSQL_ADMIN_URL": u.String()}
		},
		Secrets: map[string]string{"MariaDB's root password": m.password},
		Holds:   func(ctx context.Context) ([]string, error) { return m.holds(ctx, o.Account.Name) },
	}, nil
}

func (m *MariaDB) makeAccount(ctx context.Context, account Account) error {
	root, err := OpenMariaDB(m.URL(""))
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if _, err := root.ExecContext(ctx, account.SQL); err != nil {
		return fmt.Errorf("make the broker's account on the MariaDB server: %w", err)
	}
	return nil
}

// OpenMariaDB connects to a MariaDB server by a mysql:// URL. A query may be
// several statements.
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

// holds lists the databases and accounts that are neither the server's own nor the
// broker's.
func (m *MariaDB) holds(ctx context.Context, administrator string) ([]string, error) {
	root, err := OpenMariaDB(m.URL(""))
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	rows, err := root.QueryContext(ctx, `select schema_name from information_schema.schemata
			where schema_name not in ('information_schema', 'mysql', 'performance_schema', 'sys', ?)
		union select user from mysql.global_priv where user not in ('root', 'mysql', 'mariadb.sys', 'PUBLIC', ?, 'chandler_definer')
		union select db from mysql.db where user not in (?, 'chandler_definer')`, administrator, administrator, administrator)
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
