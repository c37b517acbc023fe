package postgres

import (
	"context"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// Unbind implements services.Backend. It disables logins as the role, ends its sessions,
// and drops it with all that it holds in its instance's database. It enters no other
// database, whose tenant could keep the administrator out.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	parts := []string{versionPart, databasePart, membersPart, rolePart}
	return services.UnbindResult{}, b.work(ctx, shared, n, role, parts, func(s *session, st *state) (err error) {
		if st.Exists {
			err = b.revoke(ctx, s, st, role)
		} else {
			err = b.removeRevoked(ctx, s, b.names.revokedRole(r.Binding.Name))
		}
		if err != nil {
			return err
		}
		return b.finish(ctx, s, st)
	})
}

func (b *backend) revoke(ctx context.Context, s *session, st *state, role string) error {
	if err := b.closeRoles(ctx, s, []string{role}); err != nil {
		return err
	}
	if err := b.stripAtHome(ctx, s, st, role); err != nil {
		return err
	}
	return b.drop(ctx, s, st, role)
}

// removeRevoked drops a role that was set aside, which List returns under an identifier
// of its own.
func (b *backend) removeRevoked(ctx context.Context, s *session, role string) error {
	list, err := b.revokedRoles(ctx, s, "AND rolname = "+literal(role))
	if err != nil || len(list) == 0 {
		return err
	}
	return b.clear(ctx, s, list[0])
}

// writes says whether a role can write in the instance's database: a read_write
// binding's, or one of the groups that these are in.
func (s *state) writes(role string) bool {
	return slices.Contains(append(s.writers(), s.names.owner, s.names.over), role)
}
