package postgres

import (
	"context"
	"errors"
	"fmt"
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
	var faults []error
	for _, check := range []struct {
		bad  bool
		what string
	}{
		{version < oldestVersion, "the server is older than PostgreSQL 13; upgrade it"},
		{standby, "the server is a standby; let the url name the primary"},
		{super, "the administrator is a superuser, who tenants could turn against the server; make one with administrator.sql"},
		{!createDB, "the administrator lacks CREATEDB"},
		{!createRole, "the administrator lacks CREATEROLE"},
		{!signals, "the administrator lacks membership in pg_signal_backend"},
		{!stats, "the administrator lacks membership in pg_read_all_stats"},
		{publicHere, "every role may connect to the administrator's database; REVOKE CONNECT ON DATABASE from PUBLIC there"},
		{publicTemplate, "every role may connect to database template1; REVOKE CONNECT ON DATABASE template1 FROM PUBLIC"},
		{!canSeed, "database template0 is missing; restore it"},
	} {
		if check.bad {
			faults = append(faults, errors.New(check.what))
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("server %s is not set up (administrator.sql does it): %w", b.server.address(), errors.Join(faults...))
	}
	return nil
}
