package postgres

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database"
)

// backend administers one server. It keeps no state, and asks the server what exists.
type backend struct {
	admin  pq.Config
	server server
	names  namer
	pool   *database.Pool
	guard  *guard
	// programs is the folder of pg_dump and pg_restore; empty: PATH.
	programs string
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
	admin = hardened(admin)
	dialect := database.Dialect{Reset: "ROLLBACK; " + unlock, Disconnected: disconnected, Explain: explain}
	pool := database.OpenPool(connector{admin}, c.MaxConnections, 5*time.Minute, dialect)
	return &backend{admin: admin, server: server, names: newNamer(c.Prefix), pool: pool, guard: &guard{}, programs: c.Programs}, nil
}

// hardened pins the settings on which the administrator's sessions rely. Sessions in
// tenants' databases pin all others, too (connectTo).
func hardened(c pq.Config) pq.Config {
	c = c.Clone()
	c.ApplicationName = "chandler"
	c.ConnectTimeout = connectTimeout
	if c.Runtime == nil {
		c.Runtime = map[string]string{}
	}
	maps.Copy(c.Runtime, map[string]string{
		"search_path":                         "pg_catalog",
		"role":                                "none",
		"default_transaction_read_only":       "off",
		"default_transaction_isolation":       "read committed",
		"standard_conforming_strings":         "on",
		"synchronous_commit":                  "on",
		"check_function_bodies":               "off",
		"row_security":                        "on",
		"statement_timeout":                   "30s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "60s",
		// A broker that vanished must not hold its locks for hours.
		"tcp_keepalives_idle":     "20",
		"tcp_keepalives_interval": "5",
		"tcp_keepalives_count":    "4",
	})
	return c
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.guard.mu.Lock()
	defer b.guard.mu.Unlock()
	b.guard.close()
	return b.pool.Close()
}

const oldestVersion = 130000

// Ready implements services.Readier: the administrator has every right that it needs.
func (b *backend) Ready(ctx context.Context) error {
	var (
		version                                      int
		super, createDB, createRole, signals, stats  bool
		publicHere, publicTemplate, standby, canSeed bool
	)
	err := b.pool.QueryRowContext(ctx, `SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int4,
		r.rolsuper, r.rolcreatedb, r.rolcreaterole,
		pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'), pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'),
		pg_catalog.has_database_privilege('public', pg_catalog.current_database(), 'CONNECT'),
		pg_catalog.has_database_privilege('public', 'template1', 'CONNECT'),
		pg_catalog.pg_is_in_recovery(),
		EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = 'template0')
		FROM pg_catalog.pg_roles r WHERE r.rolname = CURRENT_USER`).
		Scan(&version, &super, &createDB, &createRole, &signals, &stats, &publicHere, &publicTemplate, &standby, &canSeed)
	if err != nil {
		return explain("ask the server for the administrator's rights", err)
	}
	var f check.Faults
	f.If(version < oldestVersion, "the server is older than PostgreSQL 13; upgrade it")
	f.If(standby, "the server is a standby; let the url name the primary")
	f.If(super, "the administrator is a superuser, who tenants could turn against the server; make one with administrator.sql")
	f.If(!createDB, "the administrator lacks CREATEDB")
	f.If(!createRole, "the administrator lacks CREATEROLE")
	f.If(!signals, "the administrator lacks membership in pg_signal_backend")
	f.If(!stats, "the administrator lacks membership in pg_read_all_stats")
	f.If(publicHere, "every role may connect to the administrator's database; REVOKE CONNECT ON DATABASE from PUBLIC there")
	f.If(publicTemplate, "every role may connect to database template1; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC")
	f.If(!canSeed, "database template0 is missing; restore it")
	if b.programs != "" {
		for _, name := range []string{"pg_dump", "pg_restore"} {
			_, err := b.program(ctx, name, version)
			f.Add(err)
		}
	}
	if err := f.Err(); err != nil {
		return fmt.Errorf("server %s is not set up (administrator.sql does it): %w", b.server.Address(), err)
	}
	return nil
}

// is says whether the server answered with one of the codes; without codes: at all.
func is(err error, codes ...pqerror.Code) bool { return pq.As(err, codes...) != nil }

// explain adds what the broker was doing and what the operator can do.
func explain(doing string, err error) error { return services.Explain(doing, err, advice()) }

func advice() []services.Advice {
	on := func(codes ...pqerror.Code) func(error) bool {
		return func(err error) bool { return is(err, codes...) }
	}
	return []services.Advice{
		{About: func(err error) bool { return !is(err) && disconnected(err) }, Text: "the server is away or closed the connection"},
		{About: on(pqerror.DiskFull), Text: "the server's disk is full; make room on it", Full: true},
		{About: on(pqerror.CannotConnectNow, pqerror.CrashShutdown),
			Text: "the server is starting, or recovers from a crash; if that does not end, its log says why, such as a full disk"},
		{About: on(pqerror.LockNotAvailable), Text: "another session holds a lock; the broker retries"},
		{About: on(pqerror.TooManyConnections),
			Text: "the server has no connection left; raise its max_connections, or let its reserved_connections keep some back for the broker (PostgreSQL 16)"},
		{About: on(pqerror.OutOfMemory),
			Text: "the server is out of memory or its lock table is full; raise max_locks_per_transaction, or give the server more memory"},
		{About: on(pqerror.QueryCanceled), Text: "the server did not finish in time; the broker retries"},
		{About: on(pqerror.ReadOnlySQLTransaction), Text: "the server is read-only; let the url name the primary"},
		{About: on(pqerror.InvalidPassword, pqerror.InvalidAuthorizationSpecification),
			Text: "the server refuses the administrator; check the password in url and pg_hba.conf, or run administrator.sql again"},
		{About: func(err error) bool {
			return is(err, pqerror.InsufficientPrivilege) && strings.Contains(err.Error(), tempFileLimit)
		},
			Text: "the administrator may not set temp_file_limit; run administrator.sql again as a superuser, or leave it out of the plan"},
		{About: on(pqerror.InsufficientPrivilege), Text: "the administrator lacks a right; run administrator.sql again as a superuser"},
	}
}

// checkNotDropped refuses an instance whose owner role exists without its database. The
// broker does not create that again: an application that finds it empty may install itself
// anew, and an empty backup may replace the last good one.
func (st *state) checkNotDropped() error {
	if st.Database == nil && st.hasGroup(st.names.owner) {
		return services.Rejected("%s", droppedMessage)
	}
	return nil
}

const droppedMessage = "the database was dropped, with all its data; delete this service instance and create a new one, or ask your operator to restore it"
