package postgres

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Update implements services.Backend.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	n := b.names.instance(r.Instance.Name)
	return services.UpdateResult{}, b.work(ctx, exclusive, n, "", []string{versionPart, sizePart, groupsPart, movedPart, membersPart},
		func(s *session, st *state) error { return b.change(ctx, s, st, r.Previous, r.Instance) })
}

func (b *backend) change(ctx context.Context, s *session, st *state, prev, next instance) error {
	if err := dropped(st); err != nil {
		return err
	}
	if st.Database == nil {
		return fmt.Errorf("database %s is not there; was it dropped by hand? deprovision the instance", st.names.database)
	}
	if err := usage.CheckChange(services.Size(st.Database.Bytes), prev.Plan.Storage, next.Plan.Storage, st.over()); err != nil {
		return err
	}
	if err := b.extend(ctx, s, st.names, prev.Params.Extensions, next.Params.Extensions); err != nil {
		return err
	}
	if err := s.transaction(ctx, limits(st, next.Plan)...); err != nil {
		return limitError("change the limits", err)
	}
	if err := b.enforce(ctx, s, st, next.Plan); err != nil {
		return err
	}
	return s.last(ctx)
}

// limits returns the statements that hold the database and all bindings' roles
// to the plan.
func limits(st *state, p Plan) []string {
	limit := fmt.Sprintf("%s WITH CONNECTION LIMIT %d", st.alter(), p.Connections)
	return append(st.asOwner(append([]string{limit}, settings(st, p)...)...), bindingLimits(st, p)...)
}

// bindingLimits returns the statements for all bindings' limits of connections.
func bindingLimits(st *state, p Plan) []string {
	var statements []string
	for _, role := range st.in(st.names.groups()...) {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s WITH CONNECTION LIMIT %d", ident(role), p.perBinding()))
	}
	return statements
}
