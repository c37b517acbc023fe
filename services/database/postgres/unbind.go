package postgres

import "context"

// Unbind implements services.Backend. First nobody can log in as the role any
// more, then its sessions end, then it goes with all it holds.
func (b *backend) Unbind(ctx context.Context, inst instance, bd binding) error {
	n, role := b.names.instance(inst.Name), b.names.role(bd.Name)
	s, st, err := b.begin(ctx, shared, n, role, versionPart, rolePart)
	if err != nil {
		return err
	}
	if err := b.revoke(ctx, s, st, role); err != nil {
		s.release(ctx)
		return err
	}
	s.done()
	return nil
}

func (b *backend) revoke(ctx context.Context, s *session, st *state, role string) error {
	if st.Exists {
		err := s.commit(ctx, []string{"ALTER ROLE " + ident(role) + " WITH NOLOGIN"}, []string{cut([]string{role})})
		if err != nil {
			return explain("close the binding's role", err)
		}
		if err := b.dispose(ctx, s, []string{role}); err != nil {
			return err
		}
	}
	return b.finish(ctx, s, st)
}
