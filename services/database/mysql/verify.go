package mysql

import (
	"context"
	"database/sql"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

var _ services.Verifier[Plan, InstanceParams, BindingParams] = (*backend)(nil)

// Verify implements services.Verifier. An application can change its own password and drop
// its database; MariaDB cannot forbid either.
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
		database.Answer{Query: existence(n), Scan: database.One(&exists)})
	if err != nil || !open || correct && exists {
		return services.VerifyResult{}, explain("check the account's password", err)
	}
	return services.VerifyResult{}, b.repair(ctx, r.Instance, name, hashed)
}

// repair restores the password of an open account. The instance's lock excludes operations
// that may just have closed it.
func (b *backend) repair(ctx context.Context, inst instance, name, hashed string) error {
	s, st, err := b.begin(ctx, patience, b.names.database(inst.Name))
	if err != nil {
		return err
	}
	defer s.release(ctx)
	if len(st.named(func(a account) bool { return a.live() && a.name == name })) == 0 {
		return nil
	}
	if err := b.restore(ctx, s, st, inst.Params); err != nil {
		return err
	}
	return explain("restore the account's password", s.exec(ctx, call("restore_password", name, hashed)))
}
