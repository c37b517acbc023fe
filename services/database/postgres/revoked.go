package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// revokedFrom is the comment on a role that was set aside. It names the instance's
// database, home, if the role could write there: what it owns there is the instance's.
func revokedFrom(home string) string { return strings.TrimSpace("revoked " + home) }

// revoked is a role that was set aside.
type revoked struct{ role, home string }

const (
	// revokedAtOnce is how many roles one round tries to drop, revokedTime how long it
	// starts with another one, and clearTime how long it works on one.
	revokedAtOnce = 20
	revokedTime   = 2 * time.Second
	clearTime     = 10 * time.Second
)

// clearRevoked drops roles that were set aside, a few at a time and in random order, so
// that roles that cannot be dropped do not block the others. It returns why roles stay.
func (b *backend) clearRevoked(ctx context.Context) error {
	conn, err := b.pool.Conn(ctx)
	if err != nil {
		return explain("connect to the server", err)
	}
	s := &session{conn: conn}
	defer s.release(ctx)
	list, err := b.revokedRoles(ctx, s, fmt.Sprint("ORDER BY pg_catalog.random() LIMIT ", revokedAtOnce))
	if err != nil {
		return err
	}
	var faults []error
	for began := time.Now(); len(list) > 0 && time.Since(began) < revokedTime; list = list[1:] {
		limited, cancel := context.WithTimeout(ctx, clearTime)
		if err := b.clear(limited, s, list[0]); err != nil {
			faults = append(faults, fmt.Errorf("revoked role %s stays: %w", list[0].role, err))
		}
		cancel()
	}
	return errors.Join(faults...)
}

func (b *backend) revokedRoles(ctx context.Context, s *session, which string) ([]revoked, error) {
	var list []revoked
	err := s.query(ctx, `SELECT rolname, coalesce(pg_catalog.shobj_description(oid, 'pg_authid'), '') FROM pg_catalog.pg_roles
		WHERE rolname ~ `+literal(b.names.revoked.String())+` `+which, func(rows *sql.Rows) error {
		var role, comment string
		err := rows.Scan(&role, &comment)
		list = append(list, revoked{role, strings.TrimPrefix(comment, revokedFrom("")+" ")})
		return err
	})
	return list, explain("list the revoked roles", err)
}

// clear drops a role that was set aside, with everything that it owns in any database.
func (b *backend) clear(ctx context.Context, s *session, r revoked) error {
	databases, err := s.holding(ctx, r.role)
	if err != nil {
		return err
	}
	var faults []error
	for _, database := range databases {
		err := b.inside(ctx, s, database, func(t *session) error { return t.strip(ctx, r.role, database == r.home) })
		faults = append(faults, explain("free what the role holds in database "+database, err))
	}
	faults = append(faults, explain("drop the role", s.transaction(ctx, briefly, "DROP ROLE IF EXISTS "+ident(r.role))))
	return errors.Join(faults...)
}
