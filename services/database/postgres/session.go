package postgres

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services/database"
)

// session is one connection of the administrator.
type session struct{ *database.Conn }

type lockMode string

const (
	// shared is for Bind and Unbind, which run side by side.
	shared lockMode = "pg_catalog.pg_advisory_lock_shared"
	// exclusive is for what changes the instance or its group roles.
	exclusive lockMode = "pg_catalog.pg_advisory_lock"
	// ifFree takes the exclusive lock only if it is free; lockedPart tells.
	ifFree lockMode = "pg_catalog.pg_try_advisory_lock"
)

const (
	lockSpace = 1128812612 // "CHND": no other program's advisory locks

	unlock = "SELECT pg_catalog.pg_advisory_unlock_all()"
)

// work runs do under the instance's lock, with parts of its state and of a binding's role.
func (b *backend) work(ctx context.Context, mode lockMode, n names, role string, parts []string, do func(ctx context.Context, s *session, st *state) error) error {
	st := &state{}
	return b.pool.Work(ctx, func(c *database.Conn) error { return do(ctx, &session{c}, st) }, lock(mode, n),
		database.Answer{Query: b.stateQuery([]string{n.database}, role, parts...), Scan: st.scan})
}

// lock is the query that takes an instance's lock.
func lock(mode lockMode, n names) database.Answer {
	return database.Answer{Query: fmt.Sprintf("SELECT %s(%d, pg_catalog.hashtext(%s))", mode, lockSpace, literal(n.database))}
}

func dialSession(ctx context.Context, c pq.Config) (*session, error) {
	conn, err := database.Connect(ctx, connector{c})
	return &session{conn}, err
}

// disconnected says whether err is the connection's end, not an answer.
func disconnected(err error) bool {
	_, network := errors.AsType[*net.OpError](err)
	return network || errors.Is(err, driver.ErrBadConn)
}

// transaction runs statements as one transaction, in one round trip.
func (s *session) transaction(ctx context.Context, statements ...string) error {
	return s.commit(ctx, statements, "")
}

// last is transaction, and releases the lock in the same round trip.
func (s *session) last(ctx context.Context, statements ...string) error {
	err := s.commit(ctx, statements, unlock)
	if err == nil {
		s.Reset = ""
	}
	return err
}

// commit runs statements as one transaction, and then another one.
func (s *session) commit(ctx context.Context, statements []string, then string) error {
	err := s.Exec(ctx, append(append([]string{"BEGIN"}, statements...), "COMMIT", then)...)
	if err != nil {
		_ = s.Exec(context.WithoutCancel(ctx), "ROLLBACK") // else the connection is broken, and not used again
	}
	return err
}

// inDatabase runs work in another database, in a session that ends with it. It first grants
// the administrator access, because a tenant may have closed the database or revoked it. If
// tenants hold all allowed connections, it lifts that limit for the moment of connecting.
func (b *backend) inDatabase(ctx context.Context, s *session, name string, work func(*session) error) error {
	t, err := b.enter(ctx, s, name)
	if err != nil {
		return err
	}
	defer t.Release(ctx)
	return work(t)
}

// enter opens the session of inDatabase.
func (b *backend) enter(ctx context.Context, s *session, name string) (*session, error) {
	limit, err := b.ensureAccess(ctx, s, name)
	if err != nil {
		return nil, err
	}
	t, err := b.connectTo(ctx, s, name)
	if limit >= 0 && is(err, pqerror.TooManyConnections) {
		if err = s.limitConnections(ctx, name, -1); err == nil {
			t, err = b.connectTo(ctx, s, name)
			if failed := s.limitConnections(ctx, name, limit); err == nil && failed != nil {
				t.Release(ctx)
				err = failed
			}
		}
	}
	if err != nil {
		return nil, explain("connect to database "+name, err)
	}
	return t, nil
}

// connectTo opens a session of the administrator in another database, not pooled. It pins every
// setting that a user may change to its value in s: the database's owner could set any by
// ALTER DATABASE, such as a missing library or a time-out of 1 ms.
func (b *backend) connectTo(ctx context.Context, s *session, database string) (*session, error) {
	c := b.admin.Clone()
	c.Database = database
	settings, err := s.settings(ctx)
	if err != nil {
		return nil, err
	}
	maps.Copy(settings, c.Runtime)
	settings["lock_timeout"] = fmt.Sprint(lockTime.Milliseconds())
	c.Runtime = settings
	return dialSession(ctx, c)
}

// settings returns the session's value of every setting that a user may change, except those
// that the driver sends, and those of a transaction, whose defaults are other settings.
func (s *session) settings(ctx context.Context) (map[string]string, error) {
	values := map[string]string{}
	err := s.Query(ctx, `SELECT name, setting FROM pg_catalog.pg_settings WHERE context = 'user' AND name NOT IN (
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

// ensureAccess opens an instance's database and grants the administrator the right to connect,
// unless the database is being made or removed. It returns the limit of connections; -1: none.
func (b *backend) ensureAccess(ctx context.Context, s *session, name string) (limit int, err error) {
	if _, ours := b.names.single.Instance(name); !ours {
		return -1, nil
	}
	var open, may, owned bool
	owner := name + "_owner"
	err = s.Query(ctx, `SELECT datallowconn, pg_catalog.has_database_privilege(oid, 'CONNECT'), pg_catalog.pg_get_userbyid(datdba) = `+literal(owner)+`,
		datconnlimit FROM pg_catalog.pg_database WHERE datname = `+literal(name), database.One(&open, &may, &owned, &limit))
	if err != nil || open && may || !owned {
		return limit, explain("ask for access to database "+name, err)
	}
	return limit, explain("get access to database "+name, s.runAs(ctx, []string{owner},
		"ALTER DATABASE "+ident(name)+" WITH ALLOW_CONNECTIONS true", "GRANT CONNECT ON DATABASE "+ident(name)+" TO CURRENT_USER"))
}

func (s *session) limitConnections(ctx context.Context, database string, limit int) error {
	return s.runAs(ctx, []string{database + "_owner"}, fmt.Sprintf("ALTER DATABASE %s WITH CONNECTION LIMIT %d", ident(database), limit))
}
