package postgres

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

// Deprovision implements services.Backend. It takes the database from the tenant first,
// so that nothing of the tenant's can prevent dropping it.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	n := b.names.instance(r.Instance.Name)
	return services.DeprovisionResult{}, b.work(ctx, exclusive, n, "", []string{versionPart, databasePart, groupsPart, membersPart},
		func(s *session, st *state) error { return b.remove(ctx, s, st) })
}

func (b *backend) remove(ctx context.Context, s *session, st *state) error {
	bindings := st.in(st.names.groups()...)
	if err := b.closeRoles(ctx, s, bindings); err != nil {
		return err
	}
	if st.Database != nil {
		if err := b.insist(ctx, s, takeBack(st), nil); err != nil {
			return explain("take the database from its owner", err)
		}
		if err := s.exec(ctx, "DROP DATABASE IF EXISTS "+ident(st.names.database)+" WITH (FORCE)"); err != nil {
			return explain("drop the database", err)
		}
	}
	if roles := append(bindings, st.Groups...); len(roles) > 0 {
		if err := b.drop(ctx, s, st, roles...); err != nil {
			return err
		}
	}
	return b.finish(ctx, s, st)
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
