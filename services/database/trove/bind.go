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
	password      services.Secret // of takeOver
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
	if err := at.ensureDatabase(ctx, s, r.Instance); err != nil {
		return services.BindResult{}, err
	}
	password := r.Binding.Seed.Password("password")
	a := at.account(s, r.Binding.Name)
	if err := a.ensure(ctx, databaseName(r.Instance.Name), password); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: address.Credentials(databaseName(r.Instance.Name), a.name, password)}, nil
}

// ensureDatabase makes a database again that an application has dropped.
func (at place) ensureDatabase(ctx context.Context, s server, inst instance) error {
	found, err := at.databases(ctx, s.ID)
	if err != nil {
		return explain("list the databases", err)
	}
	if slices.Contains(found, named{databaseName(inst.Name)}) {
		return nil
	}
	err = at.createDatabase(ctx, s.ID, schemaOf(inst))
	if refused(err) { // another bind was faster, or Trove does not know the character set
		if again, err := at.databases(ctx, s.ID); err == nil && slices.Contains(again, named{databaseName(inst.Name)}) {
			return nil
		}
	}
	return explain("create the database", err)
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

// ensure makes the user, or repairs the one that is there.
func (a account) ensure(ctx context.Context, name string, password services.Secret) error {
	o, found, err := a.owner(ctx)
	if err != nil {
		return err
	}
	if !found {
		err := a.createUser(ctx, a.server.ID, a.name, password, name, marker(a.binding, a.server.ID))
		if err == nil || !refused(err) {
			return explain("create the binding's user", err)
		}
		// An earlier call may have arrived late.
		if o, found, err = a.lateOwner(ctx, err); err != nil || !found {
			return err
		}
	}
	if o.binding != "" && o.binding != a.binding {
		return services.Rejected("another binding of the instance has the user name %s that belongs to this one's ID: unbind, and bind with another ID", a.name)
	}
	return a.repair(ctx, o, name, password)
}

func (a account) lateOwner(ctx context.Context, cause error) (owner, bool, error) {
	o, found, err := a.owner(ctx)
	if err == nil && !found {
		err = explain("create the binding's user", cause)
	}
	return o, found, err
}

// repair gives a user the binding's password and grants. The marker is last: a user without one is
// nobody's.
func (a account) repair(ctx context.Context, o owner, name string, password services.Secret) error {
	if err := a.setPassword(ctx, a.server.ID, a.name, password); err != nil {
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
	err := a.revoke(ctx, a.server.ID, a.name, o.marker) // of the server that a backup was made of
	return explain("mark the binding's user", openstack.UnlessAbsent(err))
}

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier: an application can change its password or drop its
// database, and a restored server has the users of an older time.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	at, s, err := b.find(ctx, r.Instance.Name)
	if err != nil {
		return services.VerifyResult{}, gone(err)
	}
	a, name, password := at.account(s, r.Binding.Name), databaseName(r.Instance.Name), r.Binding.Seed.Password("password")
	o, found, err := a.owner(ctx)
	if err != nil || !found || o.binding != a.binding || o.here && !o.may(name) { // being removed
		return services.VerifyResult{}, err
	}
	if err := at.ensureDatabase(ctx, s, r.Instance); err != nil {
		return services.VerifyResult{}, err
	}
	if b.config.Sessions == sessionsEnd && o.here && b.opens(ctx, s, name, a.name, password) {
		return services.VerifyResult{}, nil
	}
	return services.VerifyResult{}, a.repair(ctx, o, name, password)
}

// opens says whether the broker can open a session with a binding's credentials.
func (b *backend) opens(ctx context.Context, s server, name, user string, password services.Secret) bool {
	c, err := b.connect(ctx, s, name, user, password)
	return err == nil && c.Close() == nil
}

// connect opens a session on a server; database may be empty.
func (b *backend) connect(ctx context.Context, s server, name, user string, password services.Secret) (*database.Conn, error) {
	at, err := b.reachable(s)
	if err != nil {
		return nil, err
	}
	connector, err := connectorOf(at, name, user, password)
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
