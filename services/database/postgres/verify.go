package postgres

import (
	"context"
	"errors"

	"github.com/lib/pq"

	"github.com/chandler-broker/chandler/services"
)

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier. It connects with the binding's credentials,
// which shows everything that could be wrong with them, and makes the role anew
// where that fails.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	password, verified, err := bindingVerifier(r.Binding.Seed)
	if err != nil {
		return services.VerifyResult{}, err
	}
	as, err := b.connectAs(ctx, n.database, role, password)
	switch {
	case err == nil && (as == n.owner || r.Binding.Params.Role == readOnly && as == role):
		return services.VerifyResult{}, nil
	case is(err, tooManyConnections):
		return services.VerifyResult{}, nil // limits are looked at after the password
	case err != nil && !refused(err):
		return services.VerifyResult{}, explain("connect with the binding's credentials", err)
	}
	repaired, err := b.repair(ctx, r.Instance, r.Binding, err == nil, verified)
	if err != nil || !repaired {
		return services.VerifyResult{}, err
	}
	_, err = b.connectAs(ctx, n.database, role, password)
	if is(err, invalidAuthorization) {
		return services.VerifyResult{}, nil // the role is in order: pg_hba.conf lets tenants in from elsewhere only
	}
	return services.VerifyResult{}, explain("connect with the binding's repaired credentials", err)
}

// connectAs connects as an application does and returns the role that the session
// acts as.
func (b *backend) connectAs(ctx context.Context, database, role string, password services.Secret) (as string, err error) {
	c := b.admin.Clone()
	c.Database, c.User, c.Password = database, role, password.Reveal()
	c.Runtime, c.Options = nil, "" // the application's settings are what is tried
	t, end, err := dialSession(ctx, c)
	if err != nil {
		return "", err
	}
	defer end()
	err = t.conn.QueryRowContext(ctx, "SELECT current_user::pg_catalog.text").Scan(&as)
	return as, err
}

// refused says whether the server answered that these credentials do not open a
// session.
func refused(err error) bool {
	answer := (*pq.Error)(nil)
	return errors.As(err, &answer) && !is(err, cannotConnectNow, crashShutdown)
}

// repair makes an existing binding's role what Bind made it; false where there is
// nothing to repair. In an instance that is over its quota, a session that acts as
// the binding's own role is as it should be.
func (b *backend) repair(ctx context.Context, inst instance, bd binding, connects bool, verified string) (bool, error) {
	n, role := b.names.instance(inst.Name), b.names.role(bd.Name)
	s, st, err := b.begin(ctx, bindMode(bd.Params), n, role, bindParts()...)
	if err != nil {
		return false, err
	}
	defer s.release(ctx)
	if !st.Exists || connects && st.over() {
		return false, nil
	}
	err = b.grant(ctx, s, st, role, verified, inst.Plan, bd.Params)
	return err == nil, err
}
