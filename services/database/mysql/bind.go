package mysql

import (
	"context"
	"database/sql"
	"slices"
	"strconv"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/database"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// Bind implements services.Backend. It takes two round trips: one asks, one makes the account.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	password := r.Binding.Seed.Password("password")
	hashed := hash(password.Reveal())
	r.Binding.Seed.Conceal(hashed)
	err := b.work(ctx, patience, n, func(s *session, st *state) error {
		return b.grant(ctx, s, st, name, hashed, r.Instance, r.Binding.Params)
	})
	if err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.server.Credentials(n, name, password)}, nil
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
		level = overQuotaRights
	}
	connections, seconds := plan.perAccount()
	return explain("make the binding's account", s.Last(ctx,
		call("make_account", name, st.database, string(level), hashed, b.encrypted(), connections, seconds), unlock))
}

// encrypted says for make_account whether logins need TLS.
func (b *backend) encrypted() string {
	if b.server.TLS == mysqldb.Disable {
		return "0"
	}
	return "1"
}

// perAccount are the limits for make_account and limit_account.
func (p Plan) perAccount() (connections, seconds string) {
	return strconv.Itoa(p.ConnectionsPerBinding), strconv.FormatFloat(time.Duration(p.StatementTimeout).Seconds(), 'f', 3, 64)
}

// Unbind implements services.Backend.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	return services.UnbindResult{}, b.work(ctx, patience, n, func(s *session, st *state) error {
		if err := s.endSessions(ctx, "close_account", []string{name}); err != nil {
			return explain("close the binding's account", err)
		}
		if r.Instance.Name == "" { // it has no rights, which would name its instance
			return explain("drop the binding's account", s.Exec(ctx, call("drop_account", name)))
		}
		return s.dropUnused(ctx, st, name)
	})
}

// A view, routine or trigger runs with the rights of the account that defined it, and fails
// without that account. So the account of a removed binding stays as long as it defines
// something: locked, without a password, with the rights of the instance's other accounts.

// searchTime bounds the search for definers, in seconds.
const searchTime = "5"

// dropUnused drops the accounts of the binding that is being removed and of removed
// bindings, unless they define something. They are closed already: if the database is too
// large to search, a later unbind drops them, or the instance's deletion.
func (s *session) dropUnused(ctx context.Context, st *state, removed string) error {
	candidates := append(st.named(func(a account) bool { return a.locked && a.name != removed }), removed)
	var definers []string
	err := s.Query(ctx, within(searchTime, call("definers", st.database)), database.Into(&definers))
	if mysqldb.Is(err, statementTimeout) {
		return nil
	}
	if err != nil {
		return explain("look for what the binding's account defined", err)
	}
	var drops []string
	for _, name := range candidates {
		if !slices.Contains(definers, name) {
			drops = append(drops, call("drop_account", name))
		}
	}
	if len(drops) == 0 {
		return nil
	}
	return explain("drop the binding's account", s.Exec(ctx, drops...))
}

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier: an application can change its password or drop its database.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	n, name := b.names.database(r.Instance.Name), b.names.account(r.Binding.Name)
	hashed := hash(r.Binding.Seed.Password("password").Reveal())
	r.Binding.Seed.Conceal(hashed)
	var open, correct, exists bool
	err := database.Ask(ctx, b.pool,
		database.Answer{Query: call("check_password", name, hashed), Scan: func(rows *sql.Rows) error {
			open = true
			return rows.Scan(&correct)
		}},
		database.Answer{Query: "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = " + literal(n), Scan: database.One(&exists)})
	if err != nil || !open || correct && exists {
		return services.VerifyResult{}, explain("check the account's password", err)
	}
	return services.VerifyResult{}, b.repair(ctx, r.Instance, name, hashed)
}

// repair restores the password of an account, unless another operation has just closed it.
func (b *backend) repair(ctx context.Context, inst instance, name, hashed string) error {
	return b.work(ctx, patience, b.names.database(inst.Name), func(s *session, st *state) error {
		if len(st.named(func(a account) bool { return a.live() && a.name == name })) == 0 {
			return nil
		}
		if err := b.restore(ctx, s, st, inst.Params); err != nil {
			return err
		}
		return explain("restore the account's password", s.Exec(ctx, call("restore_password", name, hashed)))
	})
}
