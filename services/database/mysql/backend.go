package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// backend administers one server. It keeps no state, and asks the server what exists.
type backend struct {
	server   mysqldb.Server
	names    namer
	password services.Secret // the administrator's
	admin    administrator
	pool     *database.Pool
	rounds   atomic.Uint32 // of Reconcile, see sizes
	programs string        // the folder of mariadb-dump; empty: PATH
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
	dialect := database.Dialect{Reset: unlock, Disconnected: mysqldb.Disconnected, Explain: explain}
	pool := database.OpenPool(patient{connector}, c.MaxConnections, time.Minute, dialect)
	return &backend{server: server, names: newNamer(c.Prefix), password: services.NewSecret(admin.password), admin: admin, pool: pool, programs: c.Programs}, nil
}

// driver is the driver's configuration for the administrator.
func (a administrator) driver(s mysqldb.Server) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = a.user, a.password, a.database
	c.Net, c.Addr = "tcp", a.Address()
	c.TLS = s.TLSConfig(a.Host)
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
// connection for administrators, but each client that it refuses takes that for a moment
// (MariaDB, "Handling Too Many Connections").
type patient struct{ driver.Connector }

func (p patient) Connect(ctx context.Context) (driver.Conn, error) {
	for deadline := time.Now().Add(connectTimeout); ; {
		conn, err := p.Connector.Connect(ctx)
		if !mysqldb.Is(err, mysqldb.TooManyConnections) || time.Now().After(deadline) {
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

const oldestVersion = 1006 // major * 100 + minor

const (
	unlimited = "18446744073709551615"
	// defaultTemporary is the server's default limit of all temporary files, 1 TB.
	defaultTemporary = "1099511627776"
)

// facts are what Ready reads.
type facts struct {
	version, engine, symlinks string
	readOnly, filePerTable    bool
	unlimitedTables           bool
	totalTemporary            string // empty before MariaDB 11.5
	script                    int
	prefix                    string
	rights, openings          []string
}

// Ready implements services.Readier: the server can hold tenants to their plans, and the
// administrator is as administrator.sql made it.
func (b *backend) Ready(ctx context.Context) error {
	var f facts
	err := database.Ask(ctx, b.pool,
		database.Answer{Query: "SELECT VERSION(), COALESCE(@@global.enforce_storage_engine, ''), @@have_symlink, @@global.read_only, @@global.innodb_file_per_table",
			Scan: database.One(&f.version, &f.engine, &f.symlinks, &f.readOnly, &f.filePerTable)},
		database.Answer{Query: "SELECT GLOBAL_VALUE FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME = 'MAX_TMP_TOTAL_SPACE_USAGE'", Scan: database.One(&f.totalTemporary)},
		database.Answer{Query: "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')", Scan: database.Into(&f.rights)},
		database.Answer{Query: "SELECT version, prefix FROM settings", Scan: database.One(&f.script, &f.prefix)},
		database.Answer{Query: "SELECT opening FROM openings", Scan: database.Into(&f.openings)})
	if err == nil {
		f.unlimitedTables, err = b.unlimitedTables(ctx)
	}
	if err != nil {
		return explain("ask the server for its settings and the administrator's rights", err)
	}
	var faults check.Faults
	f.check(&faults, b.names)
	if b.programs != "" {
		_, _, err := b.program(ctx, f.version)
		faults.Add(err)
	}
	if err := faults.Err(); err != nil {
		return fmt.Errorf("server %s is not set up: %w", b.server.Address(), err)
	}
	return nil
}

// unlimitedTables says whether a session can lift the limit of its temporary tables. The
// administrator's sessions are strict, so that a value above the server's maximum fails.
func (b *backend) unlimitedTables(ctx context.Context) (bool, error) {
	err := database.Query(ctx, b.pool, "SET STATEMENT tmp_disk_table_size = "+unlimited+" FOR SELECT 1", nil)
	if mysqldb.Is(err, valueRefused) {
		return false, nil
	}
	return err == nil, err
}

func (f facts) check(faults *check.Faults, n namer) {
	faults.If(f.old(), "it is %s and has to be MariaDB 10.6 or newer", f.version)
	faults.If(f.readOnly, "it is read-only; let the url name the primary")
	faults.If(!strings.EqualFold(f.engine, "InnoDB"), "tenants could keep data where it is not counted; start it with enforce_storage_engine=InnoDB")
	faults.If(!f.filePerTable, "tables would share one file; start it with innodb_file_per_table=ON")
	faults.If(f.symlinks != "DISABLED", "tenants could put tables into any folder of the machine; start it with symbolic-links=0")
	faults.If(f.unlimitedTables, "temporary tables have no limit that applications cannot raise; start it with tmp_disk_table_size=1G and maximum-tmp-disk-table-size=1G")
	faults.If(f.totalTemporary == "0" || f.totalTemporary == defaultTemporary, "all temporary files together have no limit; start it with max_tmp_total_space_usage, such as 20G")
	faults.If(f.script != administratorVersion || f.prefix+"_" != n.prefix,
		"administrator.sql of this version was not run for prefix %q; run it again as root", strings.TrimSuffix(n.prefix, "_"))
	for _, right := range f.rights {
		faults.If(right == "SUPER" || right == "CREATE USER", "the administrator has %s, which makes it as good as root; make one with administrator.sql", right)
	}
	for _, opening := range f.openings {
		faults.If(true, "%s; administrator.sql closes that, or REVOKE it from PUBLIC", opening)
	}
}

func (f facts) old() bool {
	var major, minor int
	_, err := fmt.Sscanf(f.version, "%d.%d", &major, &minor)
	return err != nil || major*100+minor < oldestVersion || !strings.Contains(f.version, "MariaDB")
}
