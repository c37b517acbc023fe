package postgres

import (
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

// Update implements services.Backend.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	n := b.names.instance(r.Instance.Name)
	s, st, err := b.begin(ctx, exclusive, n, "", versionPart, sizePart, groupsPart, movedPart, membersPart)
	if err != nil {
		return services.UpdateResult{}, err
	}
	defer s.release(ctx)
	return services.UpdateResult{}, b.change(ctx, s, st, r.Previous, r.Instance)
}

func (b *backend) change(ctx context.Context, s *session, st *state, prev, next instance) error {
	if err := dropped(st); err != nil {
		return err
	}
	if st.Database == nil {
		return fmt.Errorf("database %s is not there; was it dropped by hand? deprovision the instance", st.names.database)
	}
	if err := fits(st, prev.Plan, next.Plan); err != nil {
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

// fits refuses less storage than is used. An instance that was over the smaller
// plan's limit already, and under the larger one's, may go back to it: that is
// the undoing of an update that failed.
func fits(st *state, prev, next Plan) error {
	lower := next.Storage != 0 && (prev.Storage == 0 || next.Storage < prev.Storage)
	used := services.Size(st.Database.Bytes)
	if !lower || used <= next.Storage || st.over() && !tooLarge(used, prev.Storage) {
		return nil
	}
	return services.Rejected("the plan allows %s and the database uses %s; free space first, or choose a larger plan", next.Storage, used)
}

// limits returns the statements that hold the database and all bindings' roles
// to the plan.
func limits(st *state, p Plan) []string {
	statements := []string{join(st.names.owner)}
	statements = append(statements, fmt.Sprintf("ALTER DATABASE %s WITH CONNECTION LIMIT %d", ident(st.names.database), p.Connections))
	statements = append(statements, settings(st, p)...)
	return append(append(statements, leave(st.names.owner)), bindingLimits(st, p)...)
}

// bindingLimits returns the statements for the limits of connections of all
// bindings.
func bindingLimits(st *state, p Plan) []string {
	var statements []string
	for _, role := range st.in(st.names.groups()...) {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s WITH CONNECTION LIMIT %d", ident(role), p.perBinding()))
	}
	return statements
}
