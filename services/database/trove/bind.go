package trove

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/openstack"
)

// account is the user of a binding on a server.
type account struct {
	place
	server        server
	binding, name string
	password      services.Secret // the binding's, or that of takeOver
}

func (at place) account(s server, binding string) account {
	return account{place: at, server: s, binding: binding, name: userName(binding)}
}

// Bind implements services.Backend.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	at, s, err := b.find(ctx, r.Instance.Name)
	if err != nil {
		return services.BindResult{}, gone(err)
	}
	address, err := b.reachable(s)
	if err != nil {
		return services.BindResult{}, err
	}
	if err := at.ensureDatabase(ctx, s, r.Instance.Params); err != nil {
		return services.BindResult{}, err
	}
	name, a := at.database(), at.account(s, r.Binding.Name)
	a.password = r.Binding.Seed.Password("password")
	b.forget(a)
	if err := b.ensure(ctx, a, name); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: address.Credentials(name, a.name, a.password)}, nil
}

// Trove answers before the server's agent has made or deleted a user or database, or changed a
// password (its source, guestagent/api.py). It waits only for grants and lists.

// ensureDatabase makes a database again that an application has dropped.
func (at place) ensureDatabase(ctx context.Context, s server, p InstanceParams) error {
	found, err := at.databases(ctx, s.ID)
	if err != nil {
		return explain("list the databases", err)
	}
	if slices.Contains(found, named{at.database()}) {
		return nil
	}
	err = at.createDatabase(ctx, s.ID, schemaOf(at.database(), p))
	if err != nil && !refused(err) {
		return explain("create the database", err)
	}
	found, again := at.databases(ctx, s.ID)
	switch {
	case again != nil:
		return explain("list the databases", again)
	case slices.Contains(found, named{at.database()}): // also where another bind was faster
		return nil
	case err != nil:
		return explain("create the database", err)
	}
	return services.NotYet(poll, "the database is being made")
}

// owner says whose the user is; found is false if there is no user of the name.
func (a account) owner(ctx context.Context) (o owner, found bool, err error) {
	grants, err := a.grants(ctx, a.server.ID, a.name)
	if openstack.Absent(err) {
		return owner{}, false, nil
	}
	if err != nil {
		return owner{}, false, explain("look up the binding's user", err)
	}
	return ownerOf(grants, a.server.ID), true, nil
}

// ensure makes the user of a binding, or repairs the one that is there, until its login works.
func (b *backend) ensure(ctx context.Context, a account, name string) error {
	o, found, err := a.owner(ctx)
	switch {
	case err != nil:
		return err
	case o.binding != "" && o.binding != a.binding:
		return services.Rejected("another binding of the instance has the user name %s that belongs to this one's ID: unbind, and bind with another ID", a.name)
	case found && o.is(a) && o.may(name) && b.opens(ctx, a, name) == nil:
		return nil
	case found:
		err = a.repair(ctx, o, name)
	default:
		err = a.createUser(ctx, a.server.ID, a.name, a.password, name, marker(a.binding, a.server.ID))
		err = explain("create the binding's user", err)
	}
	if err != nil {
		return err
	}
	return b.confirm(ctx, a, name)
}

// confirm waits until the user can work. The grant of the marker is the last of what the agent does.
func (b *backend) confirm(ctx context.Context, a account, name string) error {
	o, found, err := a.owner(ctx)
	if err != nil {
		return err
	}
	if !found || !o.is(a) || !o.may(name) {
		return services.NotYet(poll, "the binding's user is being made")
	}
	return b.opens(ctx, a, name)
}

// opens is nil if the binding's login works, as far as the broker can tell.
func (b *backend) opens(ctx context.Context, a account, name string) error {
	if b.config.Sessions != sessionsEnd {
		return nil
	}
	c, err := b.connect(ctx, a, name)
	switch {
	case mysqldb.Is(err, occupied()...):
		return nil // applications hold all connections
	case mysqldb.Is(err, mysqldb.DeniedLogin, deniedDatabase, unknownDatabase):
		return services.NotYet(poll, "the binding's login is being made")
	case err != nil:
		return fmt.Errorf("try the binding's login: %w", err)
	}
	_ = c.Close()
	return nil
}

// repair gives a user the binding's password and grants. The marker is last: a user without one is
// nobody's.
func (a account) repair(ctx context.Context, o owner, name string) error {
	if err := a.setPassword(ctx, a.server.ID, a.name, a.password); err != nil {
		return explain("set the password of the binding's user", err)
	}
	var missing []string
	if !o.may(name) {
		missing = append(missing, name)
	}
	if !o.here {
		missing = append(missing, marker(a.binding, a.server.ID))
	}
	if len(missing) > 0 {
		if err := a.grant(ctx, a.server.ID, a.name, missing...); err != nil {
			return explain("give the binding's user its rights", err)
		}
	}
	if o.marker == "" || o.here {
		return nil
	}
	return a.disown(ctx, o.marker) // of the server that a backup was made of
}

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier: an application can change its password or drop its
// database, and a restored server has the users of an older time.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	at, s, err := b.find(ctx, r.Instance.Name)
	if err != nil {
		return services.VerifyResult{}, gone(err)
	}
	name, a := at.database(), at.account(s, r.Binding.Name)
	a.password = r.Binding.Seed.Password("password")
	o, found, err := a.owner(ctx)
	if err != nil || !found || o.binding != a.binding || o.here && !o.may(name) { // being removed
		return services.VerifyResult{}, err
	}
	if err := at.ensureDatabase(ctx, s, r.Instance.Params); err != nil {
		return services.VerifyResult{}, err
	}
	if b.config.Sessions == sessionsEnd && o.here && b.opens(ctx, a, name) == nil {
		return services.VerifyResult{}, nil
	}
	if err := a.repair(ctx, o, name); err != nil {
		return services.VerifyResult{}, err
	}
	return services.VerifyResult{}, b.confirm(ctx, a, name)
}

// connect opens a session of a user; the name of a database may be empty.
func (b *backend) connect(ctx context.Context, a account, name string) (*database.Conn, error) {
	at, err := b.reachable(a.server)
	if err != nil {
		return nil, err
	}
	connector, err := connectorOf(at, name, a.name, a.password)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := database.Connect(ctx, connector)
	if err != nil && mysqldb.Disconnected(err) || errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("connect to the database server at %s: the broker must reach it, or the configuration's key sessions be %q or %q: %w", at.Address(), sessionsRestart, sessionsLeave, err)
	}
	return c, err
}
