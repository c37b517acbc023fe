package mysql

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Update implements services.Backend: it holds the instance to another plan.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	s, st, err := b.begin(ctx, patience, b.names.database(r.Instance.Name))
	if err != nil {
		return services.UpdateResult{}, err
	}
	defer s.release(ctx)
	if err := b.restore(ctx, s, st, r.Instance.Params); err != nil {
		return services.UpdateResult{}, err
	}
	used, err := s.used(ctx, st, r.Instance.Plan)
	if err != nil {
		return services.UpdateResult{}, err
	}
	if err := usage.CheckChange(used, r.Previous.Plan.Storage, r.Instance.Plan.Storage, st.full); err != nil {
		return services.UpdateResult{}, err
	}
	if err := s.limit(ctx, st, r.Previous.Plan, r.Instance.Plan); err != nil {
		return services.UpdateResult{}, err
	}
	return services.UpdateResult{}, s.enforce(ctx, st, used, r.Instance.Plan)
}

// used measures the one database.
func (s *session) used(ctx context.Context, st *state, p Plan) (services.Size, error) {
	sizes, err := measure(ctx, s.conn, []string{st.database}, func(string, services.Size) bool { return p.Storage != 0 || st.full })
	return sizes[st.database].used(), err
}

// limit holds the bindings' accounts to the plan. Live sessions stay.
func (s *session) limit(ctx context.Context, st *state, prev, next Plan) error {
	names := st.named(account.live)
	if len(names) > next.Bindings && next.Bindings < prev.Bindings {
		return services.Rejected("the plan allows %d bindings and the instance has %d; remove some first, or choose a larger plan", next.Bindings, len(names))
	}
	var statements []string
	for _, name := range names {
		connections, seconds := next.perAccount()
		statements = append(statements, call("limit_account", name, connections, seconds))
	}
	if len(statements) == 0 {
		return nil
	}
	return explain("change the limits", s.exec(ctx, statements...))
}
