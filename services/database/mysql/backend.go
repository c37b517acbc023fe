package mysql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
)

// backend administers one server. It keeps no state, and asks the server what exists.
type backend struct {
	server   server
	names    namer
	password services.Secret // the administrator's
	pool     *sql.DB
	rounds   atomic.Uint32 // of Reconcile, see sizes
}

func open(_ context.Context, c Config) (*backend, error) {
	admin, err := c.administrator()
	if err != nil {
		return nil, err
	}
	server, err := c.server(admin)
	if err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(admin.driver(server))
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(patient{connector})
	pool.SetMaxOpenConns(c.MaxConnections)
	pool.SetMaxIdleConns(c.MaxConnections)
	pool.SetConnMaxIdleTime(time.Minute)
	return &backend{server: server, names: newNamer(c.Prefix), password: services.NewSecret(admin.password), pool: pool}, nil
}

// driver is the driver's configuration for the administrator.
func (a administrator) driver(s server) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.user, a.password, a.database
	c.Net, c.Addr = "tcp", a.Address()
	c.TLS = s.tlsConfig(a.Host)
	c.Timeout = connectTimeout
	c.MultiStatements = true
	c.Logger = &mysql.NopLogger{} // errors are returned, too
	c.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'",
		"lock_wait_timeout":        "5",
		"innodb_lock_wait_timeout": "5",
		"max_statement_time":       "30",
		"foreign_key_checks":       "0", // of use in Deprovision only, which drops tables in any order
		// A broker that vanished must not hold its locks for hours.
		"wait_timeout": "120",
	}
	return c
}

// patient is a connector that retries while the server is full. The server reserves one
// connection for administrators, but any client that connects takes it until the server has
// refused that client (MariaDB, "Handling Too Many Connections").
type patient struct{ driver.Connector }

func (p patient) Connect(ctx context.Context) (driver.Conn, error) {
	for deadline := time.Now().Add(connectTimeout); ; {
		conn, err := p.Connector.Connect(ctx)
		if !is(err, tooManyConnections) || time.Now().After(deadline) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close implements services.Closer.
func (b *backend) Close() error { return b.pool.Close() }
