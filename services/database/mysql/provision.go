package mysql

import (
	"context"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// Provision implements services.Backend. Nobody has rights on a database before its first
// binding, so that one statement suffices.
func (b *backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, InstanceParams]) (services.ProvisionResult, error) {
	n := b.names.database(r.Instance.Name)
	s, err := b.locked(ctx, patience, n)
	if err != nil {
		return services.ProvisionResult{}, explain("lock the database", err)
	}
	if err := b.create(ctx, s, n, r.Instance.Params, unlock); err != nil {
		s.release(ctx)
		return services.ProvisionResult{}, err
	}
	s.done()
	return services.ProvisionResult{}, nil
}

// create makes the database, and runs more statements in the same round trip.
func (b *backend) create(ctx context.Context, s *session, name string, p InstanceParams, after ...string) error {
	err := s.exec(ctx, append([]string{"CREATE DATABASE IF NOT EXISTS " + ident(name) + defaults(p)}, after...)...)
	if err != nil {
		return b.refusal(ctx, s, p, err)
	}
	return nil
}

// restore makes a database again that an application has dropped. An instance without
// accounts may never have existed, and is not made.
func (b *backend) restore(ctx context.Context, s *session, st *state, p InstanceParams) error {
	if st.exists {
		return nil
	}
	if len(st.accounts) == 0 {
		return services.Rejected("the database of this instance no longer exists: an application or the operator dropped it; delete the instance and create a new one")
	}
	if err := b.create(ctx, s, st.database, p); err != nil {
		return err
	}
	st.exists = true
	return nil
}

// defaults are the options of CREATE DATABASE. The names have passed Validate, and need no
// quotes.
func defaults(p InstanceParams) string {
	options := ""
	if set := p.characterSet(); set != "" {
		options += " CHARACTER SET " + set
	}
	if p.Collate != "" {
		options += " COLLATE " + p.Collate
	}
	return options
}

// refusal names what the server accepts, if it does not know what the user asked for.
func (b *backend) refusal(ctx context.Context, s *session, p InstanceParams, cause error) error {
	if is(cause, unknownCharacters) {
		return services.Rejected("parameters.character_set: this server does not support it; choose another, or leave it out")
	}
	if !is(cause, unknownCollation, collationMismatch) {
		return explain("create the database", cause)
	}
	set := p.characterSet()
	if set == "" {
		return services.Rejected("parameters.collate: this server has no collation %q; give the character_set as well to see which there are", p.Collate)
	}
	var possible []string
	err := database.Query(ctx, s.conn, "SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME = "+
		literal(set)+" ORDER BY 1", database.Into(&possible))
	if err != nil {
		return explain("ask for the server's collations", err)
	}
	return services.Rejected("parameters.collate: %q does not belong to character set %s; choose one of %s", p.Collate, p.CharacterSet, strings.Join(possible, ", "))
}
