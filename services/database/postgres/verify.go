package postgres

import (
	"context"
	"errors"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier. It connects with the binding's credentials, which
// shows whatever is wrong with them, and repairs the role if that fails.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	password, verified, err := bindingVerifier(r.Binding.Seed)
	if err != nil {
		return services.VerifyResult{}, err
	}
	as, err := b.connectAs(ctx, n.database, role, password)
	switch {
	case err == nil && (as == n.owner || r.Binding.Params.Role == access.ReadOnly && as == role):
		return services.VerifyResult{}, nil
	case is(err, pqerror.TooManyConnections):
		return services.VerifyResult{}, nil // the server checks limits after the password
	case err != nil && !refused(err):
		return services.VerifyResult{}, explain("connect with the binding's credentials", err)
	}
	repaired, err := b.repair(ctx, r.Instance, r.Binding, err == nil, verified)
	if err != nil || !repaired {
		return services.VerifyResult{}, err
	}
	_, err = b.connectAs(ctx, n.database, role, password)
	if is(err, pqerror.InvalidAuthorizationSpecification) {
		return services.VerifyResult{}, nil // the role is in order, and pg_hba.conf does not admit tenants from here
	}
	return services.VerifyResult{}, explain("connect with the binding's repaired credentials", err)
}

// connectAs connects as an application does and returns the role of the session.
func (b *backend) connectAs(ctx context.Context, database, role string, password services.Secret) (as string, err error) {
	c := b.admin.Clone()
	c.Database, c.User, c.Password = database, role, password.Reveal()
	c.Runtime, c.Options = nil, "" // the application's settings are under test
	t, end, err := dialSession(ctx, c)
	if err != nil {
		return "", err
	}
	defer end()
	err = t.conn.QueryRowContext(ctx, "SELECT current_user::pg_catalog.text").Scan(&as)
	return as, err
}

// refused says whether the server refused the credentials.
func refused(err error) bool {
	answer := (*pq.Error)(nil)
	return errors.As(err, &answer) && !is(err, pqerror.CannotConnectNow, pqerror.CrashShutdown)
}

// repair restores what Bind made of an existing binding's role; false if there is nothing
// to repair. In an instance over its quota, sessions act as the binding's own role.
func (b *backend) repair(ctx context.Context, inst instance, bd binding, connects bool, verified string) (bool, error) {
	n, role := b.names.instance(inst.Name), b.names.role(bd.Name)
	repaired := false
	err := b.work(ctx, bindMode(bd.Params), n, role, bindParts(), func(s *session, st *state) error {
		if !st.Exists || connects && st.over() {
			return nil
		}
		err := b.grant(ctx, s, st, role, verified, inst.Plan, bd.Params)
		repaired = err == nil
		return err
	})
	return repaired, err
}
