package postgres

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/services/check"
)

const oldestVersion = 130000

// Ready implements services.Readier: the server answers and the administrator
// has every right that it needs.
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
	if err := f.Err(); err != nil {
		return fmt.Errorf("server %s is not set up (administrator.sql does it): %w", b.server.Address(), err)
	}
	return nil
}
