package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
)

// inside runs work in another database, in a session that ends with it. The
// administrator is let in first, because a tenant may have closed the database
// or revoked that right.
func (b *backend) inside(ctx context.Context, s *session, database string, work func(*session) error) error {
	if err := b.admit(ctx, s, database); err != nil {
		return err
	}
	t, end, err := b.tenant(ctx, s, database)
	if _, ours := b.names.instanceOf(database); ours && is(err, tooManyConnections) {
		t, end, err = b.squeezeIn(ctx, s, database)
	}
	if err != nil {
		return explain("connect to database "+database, err)
	}
	defer end()
	return work(t)
}

// tenant opens a session of the administrator in another database. It is not
// pooled: it lives for one piece of work. Every setting that a user may change
// is pinned to its value in s: the database's owner could set any of them by
// ALTER DATABASE, such as a library that does not exist or a time-out of 1 ms.
// What a client sends when it connects takes precedence.
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

// settings returns the session's value of every setting that a user may change.
// The driver sends some itself; a transaction's own cannot be sent, and take
// their defaults, which are among the others.
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

// admit opens an instance's database and gives the administrator the right to
// connect to it, where either is missing. One that does not belong to its owner
// role is being made or removed.
func (b *backend) admit(ctx context.Context, s *session, database string) error {
	if _, ours := b.names.instanceOf(database); !ours {
		return nil
	}
	var open, may, owned bool
	owner := database + "_owner"
	err := s.query(ctx, `SELECT datallowconn, pg_catalog.has_database_privilege(oid, 'CONNECT'),
		pg_catalog.pg_get_userbyid(datdba) = `+literal(owner)+` FROM pg_catalog.pg_database WHERE datname = `+literal(database),
		func(rows *sql.Rows) error { return rows.Scan(&open, &may, &owned) })
	if err != nil || open && may || !owned {
		return explain("ask for access to database "+database, err)
	}
	return explain("get access to database "+database, s.transaction(ctx, join(owner),
		"ALTER DATABASE "+ident(database)+" WITH ALLOW_CONNECTIONS true",
		"GRANT CONNECT ON DATABASE "+ident(database)+" TO CURRENT_USER", leave(owner)))
}

// squeezeIn connects to a database whose tenants hold all the connections that
// it allows, by lifting the limit for that moment.
func (b *backend) squeezeIn(ctx context.Context, s *session, database string) (*session, func(), error) {
	st, err := b.again(ctx, s, names{database: database}, "", databasePart)
	if err != nil {
		return nil, nil, err
	}
	if st.Database == nil {
		return nil, nil, fmt.Errorf("database %s was removed meanwhile", database)
	}
	if err := s.transaction(ctx, limitConnections(database, -1)...); err != nil {
		return nil, nil, err
	}
	t, end, err := b.tenant(ctx, s, database)
	if limitErr := s.transaction(ctx, limitConnections(database, st.Database.Limit)...); err == nil && limitErr != nil {
		end()
		err = limitErr
	}
	return t, end, err
}

func limitConnections(database string, limit int) []string {
	owner := database + "_owner"
	return []string{
		join(owner),
		fmt.Sprintf("ALTER DATABASE %s WITH CONNECTION LIMIT %d", ident(database), limit),
		leave(owner),
	}
}
