package mysql

import (
	"context"
	"strconv"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. It takes two round trips: one asks, one
// makes the account.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	password := r.Binding.Seed.Password("password")
	hashed := hash(password.Reveal())
	r.Binding.Seed.Conceal(hashed)
	s, st, err := b.begin(ctx, patience, n)
	if err != nil {
		return services.BindResult{}, err
	}
	if err := b.grant(ctx, s, st, name, hashed, r.Instance, r.Binding.Params); err != nil {
		s.release(ctx)
		return services.BindResult{}, err
	}
	s.done()
	return services.BindResult{Credentials: b.server.credentials(n, name, password)}, nil
}

// grant makes or repairs the account and releases the lock.
func (b *backend) grant(ctx context.Context, s *session, st *state, name, hashed string, inst instance, p BindingParams) error {
	if err := b.restore(ctx, s, st, inst.Params); err != nil {
		return err
	}
	plan := inst.Plan
	others := st.named(func(a account) bool { return a.live() && a.name != name })
	if len(others) >= plan.Bindings {
		return services.Rejected("the plan allows %d bindings of an instance; remove one first, or choose a larger plan", plan.Bindings)
	}
	level := fullRights
	switch {
	case p.Role == access.ReadOnly:
		level = readRights
	case st.full:
		level = overRights
	}
	encrypted := "0"
	if b.server.tls != tlsDisable {
		encrypted = "1"
	}
	connections, seconds := plan.perAccount()
	return explain("make the binding's account", s.exec(ctx,
		call("make_account", name, st.database, string(level), hashed, encrypted, connections, seconds), unlock))
}

// perAccount are the limits for make_account and limit_account.
func (p Plan) perAccount() (connections, seconds string) {
	return strconv.Itoa(p.ConnectionsPerBinding), strconv.FormatFloat(time.Duration(p.StatementTimeout).Seconds(), 'f', 3, 64)
}
