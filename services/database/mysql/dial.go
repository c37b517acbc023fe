package mysql

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// dial opens a session as an application does: with go-sql-driver/mysql and
// the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	config, err := clientConfig(credentials)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that the driver understands") // err might quote it
	}
	s, err := database.Dial(ctx, connector, probe())
	if err != nil {
		return nil, err
	}
	return &client{s}, nil
}

// client is an application's session.
type client struct{ *database.Session }

// probe are the statements of a session. The columns have a character set of their
// own, so that any key fits into a database of any character set.
func probe() database.Probe {
	return database.Probe{
		Create: `CREATE TABLE IF NOT EXISTS chandler_probe (name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY,
			value LONGTEXT CHARACTER SET utf8mb4 NOT NULL)`,
		Upsert:  `INSERT INTO chandler_probe (name, value) VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)`,
		Select:  `SELECT value FROM chandler_probe WHERE name = ?`,
		Missing: func(err error) bool { return is(err, noSuchTable) },
		Exists:  func(err error) bool { return is(err, tableExists) },
	}
}

// clientConfig reads the uri, and what the credentials say of TLS.
func clientConfig(credentials map[string]any) (*mysql.Config, error) {
	uri, _ := credentials["uri"].(string)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "mysql" || u.User == nil {
		return nil, errors.New("the credentials' uri is not mysql://user:password@host:port/database") // err would quote it
	}
	c := mysql.NewConfig()
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	c.Logger = &mysql.NopLogger{} // errors are returned, too
	if encrypted, _ := credentials["tls"].(bool); encrypted {
		s := server{tls: tlsRequire}
		if s.CA, _ = credentials["ca"].(string); s.CA != "" {
			s.tls = tlsVerify
		}
		c.TLS = s.tlsConfig(u.Hostname())
	}
	return c, nil
}
