package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// copiesTime is how long one call of Reconcile removes what copies left.
const copiesTime = 3 * time.Second

// endLeftCopies takes the rights of dumps that crashed, and drops the roles of such restores. A dump
// in progress has a session in the database: until pg_dump has connected, that with its snapshot.
// A restore in progress holds the instance's lock.
func (b *backend) endLeftCopies(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, copiesTime)
	defer cancel()
	var left []string
	err := database.Query(ctx, b.pool, `SELECT d.datname FROM pg_catalog.pg_database d WHERE d.datname ~ `+literal(b.names.single.String())+`
		AND (EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = d.datname || '_restore') OR `+b.dumpLeft("d.datname")+`)`, database.Into(&left))
	if err != nil {
		return explain("look for what crashed copies left", err)
	}
	var faults []error
	for _, name := range left {
		faults = append(faults, b.endLeftCopy(ctx, namesOf(name)))
	}
	return errors.Join(faults...)
}

func (b *backend) endLeftCopy(ctx context.Context, n names) error {
	err := b.work(ctx, ifFree, n, "", []string{lockedPart, versionPart, databasePart, groupsPart, membersPart}, func(ctx context.Context, s *session, st *state) error {
		if !st.mayEnter() {
			return nil
		}
		dumped := false
		if err := s.Query(ctx, "SELECT "+b.dumpLeft(literal(n.database)), database.One(&dumped)); err != nil {
			return explain("look for a dump in progress", err)
		}
		if dumped {
			if err := b.endDump(ctx, s, n); err != nil {
				return err
			}
		}
		if !st.hasGroup(n.restorer) {
			return nil
		}
		return explain("drop the role that restored", b.revoke(ctx, s, st, n.restorer))
	})
	if _, pending := errors.AsType[*services.NotYetError](err); pending {
		return nil // the next round continues
	}
	return err
}

// dumpLeft is an SQL condition: the backup role has rights in the database of that name, and no dump
// is in progress there.
func (b *backend) dumpLeft(name string) string {
	role := literal(b.backupRole())
	return `(EXISTS (SELECT FROM pg_catalog.pg_auth_members am JOIN pg_catalog.pg_roles m ON m.oid = am.member AND m.rolname = ` + role + `
			JOIN pg_catalog.pg_roles g ON g.oid = am.roleid
			LEFT JOIN (pg_catalog.pg_auth_members up JOIN pg_catalog.pg_roles o ON o.oid = up.roleid) ON up.member = g.oid
			WHERE ` + name + ` || '_owner' = g.rolname OR o.rolname IN (` + name + ` || '_owner', ` + name + ` || '_over', ` + name + ` || '_reader'))
		AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE datname = ` + name + ` AND usename IN (` + role + `, CURRENT_USER)))`
}
