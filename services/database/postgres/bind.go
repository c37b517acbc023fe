package postgres

import (
	"context"
	"fmt"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. It takes two round trips: one asks, one makes the role.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	password, verified, err := bindingVerifier(r.Binding.Seed)
	if err != nil {
		return services.BindResult{}, err
	}
	err = b.work(ctx, bindMode(r.Binding.Params), n, role, bindParts(), func(ctx context.Context, s *session, st *state) error {
		return b.grant(ctx, s, st, role, verified, r.Instance.Plan, r.Binding.Params)
	})
	if err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: b.server.credentials(n.database, role, password)}, nil
}

// bindMode is the lock that making a binding's role takes.
func bindMode(p BindingParams) lockMode {
	if p.Role == access.ReadOnly {
		return exclusive // it may make the reader role
	}
	return shared
}

func bindParts() []string {
	return []string{versionPart, databasePart, groupsPart, membersPart, rolePart}
}

func (b *backend) grant(ctx context.Context, s *session, st *state, role, verified string, plan Plan, p BindingParams) error {
	if err := st.checkNotDropped(); err != nil {
		return err
	}
	if st.Database == nil || !st.Database.Open || !st.hasGroup(st.names.owner) {
		return fmt.Errorf("database %s does not exist or is not finished; provision the instance again", st.names.database)
	}
	group := st.names.owner
	switch {
	case p.Role == access.ReadOnly:
		group = st.names.reader
		if err := b.makeReader(ctx, s, st); err != nil {
			return err
		}
	case st.overQuota():
		group = st.names.overQuota
	}
	return explain("make the binding's role", s.last(ctx, makeRole(st, role, group, verified, plan)...))
}

// makeRole returns the statements that make a binding's role, or give an existing one the
// group, password and limit of this call. The verifier ends its statement, so that an error
// that quotes the beginning does not quote it.
func makeRole(st *state, role, group, verified string, p Plan) []string {
	options := fmt.Sprintf(" WITH LOGIN CONNECTION LIMIT %d", p.perBinding())
	var statements []string
	if !st.Exists {
		statements = append(statements, "CREATE ROLE "+ident(role)+options+" IN ROLE "+ident(group)+" PASSWORD "+literal(verified))
	} else {
		statements = append(statements, "ALTER ROLE "+ident(role)+options+" VALID UNTIL 'infinity' PASSWORD "+literal(verified))
		statements = append(statements, withoutSettings(st, role)...)
		statements = append(statements, moveTo(st, role, group)...)
	}
	if st.hasGroup(st.names.sessions) {
		statements = append(statements, grantReach(st.names, role))
	}
	return append(statements, actAs(st, role, group)...)
}

// withoutSettings returns the statements that reset what a binding's holder may have set for
// its role, and the database's libraries, which prevent sessions if one is missing.
func withoutSettings(st *state, role string) []string {
	statements := []string{
		"ALTER ROLE " + ident(role) + " RESET ALL",
		"ALTER ROLE " + ident(role) + " IN DATABASE " + ident(st.names.database) + " RESET ALL",
	}
	if st.Database.hasSetting(preloads) {
		statements = append(statements, st.asOwner(st.alter()+" RESET "+preloads)...)
	}
	return statements
}

const preloads = "local_preload_libraries"

// moveTo returns the statements that make an existing role a member of one group only.
func moveTo(st *state, role, group string) []string {
	statements := []string{"GRANT " + ident(group) + " TO " + ident(role)}
	for _, m := range st.Members {
		if m.Role == role && m.Group != group {
			statements = append(statements, "REVOKE "+ident(m.Group)+" FROM "+ident(role))
		}
	}
	return statements
}

// actAs returns the statements that make a read_write binding's sessions act as the owner
// role, so that other bindings can use, alter and drop what it creates.
func actAs(st *state, role, group string) []string {
	alter := "ALTER ROLE " + ident(role) + " IN DATABASE " + ident(st.names.database)
	if group != st.names.owner {
		return []string{alter + " RESET role"}
	}
	return st.asOwner(alter + " SET role = " + literal(group)) // setting a role takes membership in it
}

// Unbind implements services.Backend. It disables logins as the role, ends its sessions,
// and drops it with all that it holds in its instance's database. It enters no other
// database, whose tenant could keep the administrator out.
func (b *backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, InstanceParams, BindingParams]) (services.UnbindResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	parts := []string{versionPart, databasePart, membersPart, rolePart}
	return services.UnbindResult{}, b.work(ctx, shared, n, role, parts, func(ctx context.Context, s *session, st *state) (err error) {
		if st.Exists {
			err = b.revoke(ctx, s, st, role)
		} else { // it may have been set aside: List returns such a role as a binding of its own
			err = b.dropRevoked(ctx, s, "AND rolname = "+literal(b.names.revokedRole(r.Binding.Name)))
		}
		if err != nil {
			return err
		}
		return b.endOrphanedSessions(ctx, s, st)
	})
}

func (b *backend) revoke(ctx context.Context, s *session, st *state, role string) error {
	if err := b.disableLogins(ctx, s, []string{role}); err != nil {
		return err
	}
	if err := b.stripAtHome(ctx, s, st, role); err != nil {
		return err
	}
	return b.dropRoles(ctx, s, st, role)
}

// Verify implements services.Verifier. It repairs the role if the credentials do not work.
func (b *backend) Verify(ctx context.Context, r services.VerifyRequest[Plan, InstanceParams, BindingParams]) (services.VerifyResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	password, verified, err := bindingVerifier(r.Binding.Seed)
	if err != nil {
		return services.VerifyResult{}, err
	}
	user, err := b.connectAs(ctx, n.database, role, password)
	switch {
	case err == nil && (user == n.owner || r.Binding.Params.Role == access.ReadOnly && user == role):
		return services.VerifyResult{}, nil
	case is(err, pqerror.TooManyConnections):
		return services.VerifyResult{}, nil // the server checks limits after the password
	case err != nil && !refused(err):
		return services.VerifyResult{}, explain("connect with the binding's credentials", err)
	}
	repaired, err := b.repair(ctx, r.Instance, r.Binding, err == nil, verified)
	if err != nil || !repaired {
		return services.VerifyResult{}, err
	}
	_, err = b.connectAs(ctx, n.database, role, password)
	if is(err, pqerror.InvalidAuthorizationSpecification) {
		return services.VerifyResult{}, nil // the role is in order, and pg_hba.conf does not admit tenants from here
	}
	return services.VerifyResult{}, explain("connect with the binding's repaired credentials", err)
}

// connectAs connects as an application does and returns the role of the session.
func (b *backend) connectAs(ctx context.Context, database, role string, password services.Secret) (user string, err error) {
	c := b.admin.Clone()
	c.Database, c.User, c.Password = database, role, password.Reveal()
	c.Runtime, c.Options = nil, "" // the application's settings are under test
	s, err := dialSession(ctx, c)
	if err != nil {
		return "", err
	}
	defer s.Release(ctx)
	err = s.QueryRowContext(ctx, "SELECT current_user::pg_catalog.text").Scan(&user)
	return user, err
}

// refused says whether the server refused the credentials.
func refused(err error) bool {
	return is(err) && !is(err, pqerror.CannotConnectNow, pqerror.CrashShutdown)
}

// repair restores the role of an existing binding, if necessary: in an instance over quota,
// sessions act as the binding's own role.
func (b *backend) repair(ctx context.Context, inst instance, bd binding, connects bool, verified string) (bool, error) {
	n, role := b.names.instance(inst.Name), b.names.role(bd.Name)
	repaired := false
	err := b.work(ctx, bindMode(bd.Params), n, role, bindParts(), func(ctx context.Context, s *session, st *state) error {
		if !st.Exists || connects && st.overQuota() {
			return nil
		}
		err := b.grant(ctx, s, st, role, verified, inst.Plan, bd.Params)
		repaired = err == nil
		return err
	})
	return repaired, err
}
