package rig

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/url"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/database/mysql"
)

// mysqlAdministrator is the broker's account, and the database of its procedures.
const mysqlAdministrator = "chandler"

func startMariaDB(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	server, err := embedded.StartMariaDB(ctx, embedded.MariaDBOptions{Dir: d.path("mariadb"), NoSync: !d.Durable})
	if err != nil {
		return nil, err
	}
	s.process = server
	s.holds = func(ctx context.Context) ([]string, error) { return mariaDBHolds(ctx, server) }
	password := rand.Text()
	d.Secrets.Add("MariaDB's administrator's password", password)
	if err := d.Secrets.AddURL("MariaDB's root password", server.URL("")); err != nil {
		return nil, err
	}
	root, err := OpenMariaDB(server.URL(""))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	_, err = root.ExecContext(ctx, mysql.AdministratorSQL(mysqlAdministrator, password, mysqlAdministrator, "c"))
	if err != nil {
		return nil, fmt.Errorf("set up MariaDB: %w", err)
	}
	proxy, err := s.proxy(server.Host(), server.Port())
	if err != nil {
		return nil, err
	}
	u := url.URL{Scheme: "mysql", User: url.UserPassword(mysqlAdministrator, password), Host: proxy.Addr(), Path: mysqlAdministrator}
	return map[string]string{"MYSQL_ADMIN_URL": u.String()}, nil
}

// OpenMariaDB connects to a MariaDB server by a mysql:// URL. A query may be
// several statements.
func OpenMariaDB(text string) (*sql.DB, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("the server's URL is none") // err would quote it
	}
	config := driver.NewConfig()
	config.Net, config.Addr, config.MultiStatements = "tcp", u.Host, true
	config.User, config.DBName = u.User.Username(), strings.Trim(u.Path, "/")
	config.Passwd, _ = u.User.Password()
	connector, err := driver.NewConnector(config)
	if err != nil {
		return nil, fmt.Errorf("reach MariaDB: %w", err)
	}
	return sql.OpenDB(connector), nil
}

// mariaDBHolds are the databases and accounts that are not the server's own.
func mariaDBHolds(ctx context.Context, server *embedded.MariaDB) ([]string, error) {
	root, err := OpenMariaDB(server.URL(""))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	rows, err := root.QueryContext(ctx, `select schema_name from information_schema.schemata
			where schema_name not in ('information_schema', 'mysql', 'performance_schema', 'sys', ?)
		union select user from mysql.global_priv where user not in ('root', 'mysql', 'mariadb.sys', 'PUBLIC', ?, 'chandler_definer')
		union select db from mysql.db where user not in (?, 'chandler_definer')`,
		mysqlAdministrator, mysqlAdministrator, mysqlAdministrator)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
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
