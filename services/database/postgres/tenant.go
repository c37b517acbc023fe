package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"maps"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services/database"
)

// inside runs work in another database, in a session that ends with it. It first grants
// the administrator access, because a tenant may have closed the database or revoked it.
func (b *backend) inside(ctx context.Context, s *session, database string, work func(*session) error) error {
	if err := b.admit(ctx, s, database); err != nil {
		return err
	}
	t, end, err := b.tenant(ctx, s, database)
	if _, ours := b.names.single.Instance(database); ours && is(err, pqerror.TooManyConnections) {
		t, end, err = b.squeezeIn(ctx, s, database)
	}
	if err != nil {
		return explain("connect to database "+database, err)
	}
	defer end()
	return work(t)
}

// tenant opens a session of the administrator in another database, for one piece of
// work and not pooled. Every setting that a user may change is pinned to its value in s:
// the database's owner could set any by ALTER DATABASE, such as a missing library or a
// time-out of 1 ms. What a client sends when it connects takes precedence.
func (b *backend) tenant(ctx context.Context, s *session, database string) (*session, func(), error) {
	c := b.admin.Clone()
	c.Database = database
	settings, err := s.settings(ctx)
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(settings, c.Runtime)
	settings["lock_timeout"] = fmt.Sprint(lockTime.Milliseconds())
	c.Runtime = settings
	return dialSession(ctx, c)
}

// settings returns the session's value of every setting that a user may change, except
// those that the driver sends, and those of a transaction, which cannot be sent and take
// their defaults from others.
func (s *session) settings(ctx context.Context) (map[string]string, error) {
	values := map[string]string{}
	err := s.query(ctx, `SELECT name, setting FROM pg_catalog.pg_settings WHERE context = 'user' AND name NOT IN (
		'application_name', 'client_encoding', 'DateStyle',
		'transaction_isolation', 'transaction_read_only', 'transaction_deferrable')`,
		func(rows *sql.Rows) error {
			var name, value string
			err := rows.Scan(&name, &value)
			values[name] = value
			return err
		})
	return values, explain("ask for the server's settings", err)
}

// admit opens an instance's database and grants the administrator the right to connect,
// if either is missing. A database that its owner role does not own is being made or
// removed.
func (b *backend) admit(ctx context.Context, s *session, name string) error {
	if _, ours := b.names.single.Instance(name); !ours {
		return nil
	}
	var open, may, owned bool
	owner := name + "_owner"
	err := s.query(ctx, `SELECT datallowconn, pg_catalog.has_database_privilege(oid, 'CONNECT'),
		pg_catalog.pg_get_userbyid(datdba) = `+literal(owner)+` FROM pg_catalog.pg_database WHERE datname = `+literal(name),
		database.One(&open, &may, &owned))
	if err != nil || open && may || !owned {
		return explain("ask for access to database "+name, err)
	}
	return explain("get access to database "+name, s.acting(ctx, []string{owner},
		"ALTER DATABASE "+ident(name)+" WITH ALLOW_CONNECTIONS true", "GRANT CONNECT ON DATABASE "+ident(name)+" TO CURRENT_USER"))
}

// squeezeIn connects to a database whose tenants hold all allowed connections, by
// lifting the limit for that moment.
func (b *backend) squeezeIn(ctx context.Context, s *session, database string) (*session, func(), error) {
	st, err := b.again(ctx, s, names{database: database}, "", databasePart)
	if err != nil {
		return nil, nil, err
	}
	if st.Database == nil {
		return nil, nil, fmt.Errorf("database %s was removed meanwhile", database)
	}
	if err := s.limitConnections(ctx, database, -1); err != nil {
		return nil, nil, err
	}
	t, end, err := b.tenant(ctx, s, database)
	if limitErr := s.limitConnections(ctx, database, st.Database.Limit); err == nil && limitErr != nil {
		end()
		err = limitErr
	}
	return t, end, err
}

func (s *session) limitConnections(ctx context.Context, database string, limit int) error {
	return s.acting(ctx, []string{database + "_owner"}, fmt.Sprintf("ALTER DATABASE %s WITH CONNECTION LIMIT %d", ident(database), limit))
}
