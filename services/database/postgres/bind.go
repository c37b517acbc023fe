package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
)

// Bind implements services.Backend. It takes two round trips: one asks, one
// makes the role.
func (b *backend) Bind(ctx context.Context, r services.BindRequest[Plan, InstanceParams, BindingParams]) (services.BindResult, error) {
	n, role := b.names.instance(r.Instance.Name), b.names.role(r.Binding.Name)
	password, verified, err := bindingVerifier(r.Binding.Seed)
	if err != nil {
		return services.BindResult{}, err
	}
	err = b.work(ctx, bindMode(r.Binding.Params), n, role, bindParts(), func(s *session, st *state) error {
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
	if err := dropped(st); err != nil {
		return err
	}
	if st.Database == nil || !st.Database.Open || !st.has(st.names.owner) {
		return fmt.Errorf("database %s is not there or not finished; provision the instance again", st.names.database)
	}
	group := st.names.owner
	switch {
	case p.Role == access.ReadOnly:
		group = st.names.reader
		if err := b.makeReader(ctx, s, st); err != nil {
			return err
		}
	case st.over():
		group = st.names.over
	}
	return explain("make the binding's role", s.last(ctx, makeRole(st, role, group, verified, plan)...))
}

// makeRole returns the statements that make a binding's role, or give an existing one
// the group, password and limit of this call. The password's verifier ends its
// statement, so that an error that quotes the beginning does not quote it.
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
	if st.has(st.names.sessions) {
		statements = append(statements, reaches(st.names, role))
	}
	return append(statements, actAs(st, role, group)...)
}

// withoutSettings returns the statements that reset what a binding's holder may have
// set for its role, and the database's setting that keeps sessions out: a library that
// the server does not find.
func withoutSettings(st *state, role string) []string {
	statements := []string{
		"ALTER ROLE " + ident(role) + " RESET ALL",
		"ALTER ROLE " + ident(role) + " IN DATABASE " + ident(st.names.database) + " RESET ALL",
	}
	if st.Database.sets(preloads) {
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

// actAs returns the statements that make a read_write binding's sessions act as the
// owner role, so that the instance's other bindings can use, alter and drop what it
// creates.
func actAs(st *state, role, group string) []string {
	alter := "ALTER ROLE " + ident(role) + " IN DATABASE " + ident(st.names.database)
	if group != st.names.owner {
		return []string{alter + " RESET role"}
	}
	return st.asOwner(alter + " SET role = " + literal(group)) // setting a role takes membership in it
}

// writers returns the read_write bindings' roles, in whichever group they are now.
func (s *state) writers() []string {
	writers := s.in(s.names.owner, s.names.over)
	slices.Sort(writers)
	return writers
}
