package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/usage"
)

// Update implements services.Backend.
func (b *backend) Update(ctx context.Context, r services.UpdateRequest[Plan, InstanceParams]) (services.UpdateResult, error) {
	if err := b.CheckUpdate(r); err != nil {
		return services.UpdateResult{}, err
	}
	parts := []string{versionPart, measuredPart, groupsPart, movedPart, membersPart}
	return services.UpdateResult{}, b.work(ctx, exclusive, b.names.instance(r.Instance.Name), "", parts, func(ctx context.Context, s *session, st *state) error {
		return b.change(ctx, s, st, r.Previous, r.Instance)
	})
}

func (b *backend) change(ctx context.Context, s *session, st *state, prev, next instance) error {
	if err := st.checkNotDropped(); err != nil {
		return err
	}
	if st.Database == nil {
		return fmt.Errorf("database %s does not exist; was it dropped by hand? deprovision the instance", st.names.database)
	}
	if err := usage.CheckChange(services.Size(st.Database.Bytes), prev.Plan.Storage, next.Plan.Storage, st.overQuota()); err != nil {
		return err
	}
	if err := b.extend(ctx, s, st.names, prev.Params.Extensions, next.Params.Extensions); err != nil {
		return err
	}
	if err := s.transaction(ctx, limits(st, next.Plan)...); err != nil {
		return explain("change the limits", err)
	}
	if err := b.enforce(ctx, s, st, next.Plan); err != nil {
		return err
	}
	return s.last(ctx)
}

// limits returns the statements that hold the database and all bindings' roles to the plan.
func limits(st *state, p Plan) []string {
	limit := fmt.Sprintf("%s WITH CONNECTION LIMIT %d", st.alter(), p.Connections)
	return append(st.asOwner(append([]string{limit}, settings(st, p)...)...), bindingLimits(st, p)...)
}

// bindingLimits returns the statements for all bindings' limits of connections.
func bindingLimits(st *state, p Plan) []string {
	var statements []string
	for _, role := range st.membersOf(st.names.groups()...) {
		statements = append(statements, fmt.Sprintf("ALTER ROLE %s WITH CONNECTION LIMIT %d", ident(role), p.perBinding()))
	}
	return statements
}

// Deprovision implements services.Backend. It takes the database from the tenant first,
// so that nothing of the tenant's can prevent dropping it.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	parts := []string{versionPart, databasePart, groupsPart, membersPart}
	return services.DeprovisionResult{}, b.work(ctx, exclusive, b.names.instance(r.Instance.Name), "", parts, b.remove)
}

func (b *backend) remove(ctx context.Context, s *session, st *state) error {
	bindings := st.membersOf(st.names.groups()...)
	logins := bindings
	if st.hasGroup(st.names.restorer) {
		logins = append(slices.Clone(bindings), st.names.restorer)
	}
	if err := b.disableLogins(ctx, s, logins); err != nil {
		return err
	}
	if st.Database != nil {
		if err := b.insist(ctx, s, takeBack(st), ""); err != nil {
			return explain("take the database from its owner", err)
		}
		if err := s.Exec(ctx, dropDatabase(st.names.database)+" WITH (FORCE)"); err != nil {
			return explain("drop the database", err)
		}
	}
	if roles := append(bindings, st.Groups...); len(roles) > 0 {
		if err := b.dropRoles(ctx, s, st, roles...); err != nil {
			return err
		}
	}
	return b.endOrphanedSessions(ctx, s, st)
}

// takeBack returns the statements that make the database the administrator's and closed.
// A database whose removal was interrupted cannot be altered, and need not be.
func takeBack(st *state) []string {
	if st.Database.Limit == interrupted {
		return nil
	}
	closing := st.alter() + " WITH ALLOW_CONNECTIONS false IS_TEMPLATE false"
	if st.Database.Owner != st.names.owner {
		return []string{closing}
	}
	return st.asOwner(st.alter()+" OWNER TO CURRENT_USER", closing)
}
