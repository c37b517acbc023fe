package trove

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/openstack"
)

// Unbind implements services.Backend. Trove only drops users, whose sessions MySQL lets continue
// with all their rights. Nobody but the user itself may end them: so the broker takes the user over
// with a new password, and ends the user's other sessions.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	var result services.UnbindResult
	at, s, err := b.find(ctx, r.Instance.Name)
	if errors.Is(err, errAbsent) {
		return result, nil
	}
	if err != nil {
		return result, err
	}
	a := at.account(s, r.Binding.Name)
	o, found, err := a.owner(ctx)
	if err != nil || !found || o.binding != "" && o.binding != a.binding {
		return result, err
	}
	if err := b.takeOver(ctx, &a); err != nil {
		return result, err
	}
	switch b.config.Sessions {
	case sessionsLeave:
		err = a.drop(ctx, o)
	case sessionsRestart:
		err = b.restartAndDrop(ctx, a, o)
	default:
		err = b.endAndDrop(ctx, a, o)
	}
	if err == nil {
		b.taken.Remove(a.key())
	}
	return result, err
}

// What the broker remembers of an unbind that waits.
const (
	restarted = "restarted "
	closedAt  = "closed "
)

// forget is for a binding that begins, or begins again.
func (b *backend) forget(a account) {
	b.taken.Remove(a.key())
	b.asked.Remove(restarted + a.key())
	b.asked.Remove(closedAt + a.key())
}

func (a account) key() string { return a.server.ID + " " + a.name }

// takeover is a password that the broker has given to a user.
type takeover struct {
	password services.Secret
	at       time.Time
}

// agentTime is how long the agent on a server may take to change a password.
const agentTime = time.Minute

// takeOver gives the user a password that only this process knows. An attempt that follows shortly
// uses the same one, so that the agent has time to change it.
func (b *backend) takeOver(ctx context.Context, a *account) error {
	if t, ok := b.taken.Get(a.key()); ok && time.Since(t.at) < agentTime {
		a.password = t.password
		return nil
	}
	a.password = services.NewSecret(rand.Text())
	if err := a.setPassword(ctx, a.server.ID, a.name, a.password); err != nil {
		return explain("close the binding's user", err)
	}
	b.taken.Add(a.key(), takeover{a.password, time.Now()})
	return nil
}

// drop deletes a user. Its grants go first: a login that a client holds back half-way has nothing
// to use afterwards.
func (a account) drop(ctx context.Context, o owner) error {
	if err := a.disown(ctx, o.databases...); err != nil {
		return err
	}
	err := a.deleteUser(ctx, a.server.ID, a.name)
	if openstack.UnlessAbsent(err) != nil {
		return explain("delete the binding's user", err)
	}
	if _, found, err := a.owner(ctx); err != nil || !found {
		return err
	}
	return services.NotYet(poll, "the binding's user is being deleted")
}

func (a account) disown(ctx context.Context, databases ...string) error {
	for _, name := range databases {
		if err := a.revoke(ctx, a.server.ID, a.name, name); openstack.UnlessAbsent(err) != nil {
			return explain("take the rights from the binding's user", err)
		}
	}
	return nil
}

// restartAndDrop ends the user's sessions with all others. The grants go first, because the broker
// does not know when the agent has changed the password.
func (b *backend) restartAndDrop(ctx context.Context, a account, o owner) error {
	if err := a.disown(ctx, o.databases...); err != nil {
		return err
	}
	key := restarted + a.key()
	if _, known := b.since(key, memory); known {
		if err := a.drop(ctx, owner{}); err != nil {
			return err
		}
		b.asked.Remove(key)
		return nil
	}
	if err := a.action(ctx, a.server.ID, "restart", struct{}{}); err != nil {
		return explain("restart the database server to end the binding's sessions", err)
	}
	b.asked.Add(key, time.Now())
	return services.NotYet(poll, "the database server is being restarted to end the binding's sessions")
}

// endAndDrop ends the user's sessions from one of the broker's. A view, routine, trigger or event
// runs with the rights of the user that defined it, and fails without that user: so one who defined
// something stays, closed and without the marker that makes it a binding's.
func (b *backend) endAndDrop(ctx context.Context, a account, o owner) error {
	c, err := b.connect(ctx, a, "")
	switch {
	case mysqldb.Is(err, occupied()...):
		return b.restartAndDrop(ctx, a, o) // applications hold all connections
	case mysqldb.Is(err, mysqldb.DeniedLogin):
		return services.NotYet(poll, "the binding's user is being closed")
	case err != nil:
		return fmt.Errorf("end the binding's sessions: %w", err)
	}
	defer func() { _ = c.Close() }()
	var login int // seconds
	if err := c.Query(ctx, "SELECT @@connect_timeout", database.One(&login)); err != nil {
		return fmt.Errorf("ask how long a login may take: %w", err)
	}
	if err := kill(ctx, c); err != nil {
		return err
	}
	if !defines(ctx, c) {
		if err := a.disown(ctx, o.databases...); err != nil {
			return err
		}
		if err := kill(ctx, c); err != nil {
			return err
		}
		return a.drop(ctx, owner{})
	}
	if err := b.outwait(a, time.Duration(login+1)*time.Second); err != nil || o.marker == "" {
		return err
	}
	return a.disown(ctx, o.marker)
}

// outwait waits for the end of logins that began before the user was closed: the server ends those
// that clients hold back for so long. The attempt after that ends their sessions. Another process
// waits again.
func (b *backend) outwait(a account, wait time.Duration) error {
	key := closedAt + a.key()
	ago, known := b.since(key, wait+time.Minute)
	if known && ago >= wait {
		b.asked.Remove(key)
		return nil
	}
	if !known {
		ago = 0
		b.asked.Add(key, time.Now())
	}
	return services.NotYet(max(wait-ago, poll/2), "the binding's user is closed; logins that have begun are being waited for")
}

// Errors of the servers (MariaDB documentation, "MariaDB Error Codes").
const (
	deniedDatabase  = 1044
	unknownDatabase = 1049
	noSuchThread    = 1094
	tooManyOfUser   = 1203
	tooManyNow      = 1226
)

// occupied are the errors of a server, or a user, that has no connection left.
func occupied() []uint16 { return []uint16{mysqldb.TooManyConnections, tooManyOfUser, tooManyNow} }

// kill ends all other sessions of a connection's user.
func kill(ctx context.Context, c *database.Conn) error {
	for range 10 {
		others, err := sessions(ctx, c)
		if err != nil || len(others) == 0 {
			return err
		}
		for _, id := range others {
			if err := c.Exec(ctx, "KILL "+strconv.FormatInt(id, 10)); err != nil && !mysqldb.Is(err, noSuchThread) {
				return fmt.Errorf("end a session: %w", err)
			}
		}
		time.Sleep(20 * time.Millisecond) // what a killed session takes unless it rolls back
	}
	return database.SessionsEnding()
}

// searchTime bounds the search for what a user defined, among any number of tables.
const searchTime = 5 * time.Second

// defines says whether a connection's user defined something, or whether that takes too long to
// find out, after which the connection is of no use.
func defines(ctx context.Context, c *database.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	var found int
	err := c.Query(ctx, `SELECT EXISTS (SELECT 1 FROM information_schema.TRIGGERS WHERE DEFINER = CURRENT_USER())
		OR EXISTS (SELECT 1 FROM information_schema.VIEWS WHERE DEFINER = CURRENT_USER())
		OR EXISTS (SELECT 1 FROM information_schema.ROUTINES WHERE DEFINER = CURRENT_USER())
		OR EXISTS (SELECT 1 FROM information_schema.EVENTS WHERE DEFINER = CURRENT_USER())`, database.One(&found))
	return err != nil || found > 0
}

// sessions are the other sessions of a connection's user. Servers show only those to a user
// without rights.
func sessions(ctx context.Context, c *database.Conn) ([]int64, error) {
	var own int64
	if err := c.Query(ctx, "SELECT CONNECTION_ID()", database.One(&own)); err != nil {
		return nil, fmt.Errorf("ask for the broker's own session: %w", err)
	}
	var others []int64
	err := c.Query(ctx, "SHOW PROCESSLIST", func(rows *sql.Rows) error {
		columns, err := rows.Columns() // some servers have more
		if err != nil {
			return err
		}
		var id int64
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(sql.RawBytes)
		}
		values[0] = &id
		if err := rows.Scan(values...); err == nil && id != own {
			others = append(others, id)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the binding's sessions: %w", err)
	}
	return others, nil
}

// connectTimeout distinguishes a server that is away from one that is slow.
const connectTimeout = 5 * time.Second

func connectorOf(at mysqldb.Server, name, user string, password services.Secret) (driver.Connector, error) {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.DBName = user, password.Reveal(), name
	c.Net, c.Addr = "tcp", at.Address()
	c.TLS = at.TLSConfig(at.Host)
	c.Timeout, c.ReadTimeout, c.WriteTimeout = connectTimeout, connectTimeout, connectTimeout
	c.Logger = &mysql.NopLogger{} // errors are returned, too
	return mysql.NewConnector(c)
}
