package mysql

import (
	"context"
	"database/sql"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Provision implements services.Backend. A database is nobody's until a
// binding has rights on it, so one statement is all there is to do.
func (b *backend) Provision(ctx context.Context, inst instance) error {
	n := b.names.database(inst.Name)
	s, err := b.locked(ctx, patience, n)
	if err != nil {
		return explain("lock the database", err)
	}
	err = s.exec(ctx, "CREATE DATABASE IF NOT EXISTS "+ident(n)+defaults(inst.Params), unlock)
	if err != nil {
		err = b.refusal(ctx, s, inst.Params, err)
		s.release(ctx)
		return err
	}
	s.done()
	return nil
}

// defaults are the options of CREATE DATABASE. The names have passed Validate,
// which lets nothing through that would need quotes.
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

// refusal says what the server would have taken, where the user asked for what
// it does not know.
func (b *backend) refusal(ctx context.Context, s *session, p InstanceParams, cause error) error {
	if is(cause, unknownCharacters) {
		return services.Rejected("parameters.character_set: this server does not have it: choose another, or leave it out")
	}
	if !is(cause, unknownCollation, collationMismatch) {
		return explain("create the database", cause)
	}
	set := p.characterSet()
	if set == "" {
		return services.Rejected("parameters.collate: this server has no collation %q; give the character_set as well, to be told which there are", p.Collate)
	}
	var possible []string
	err := s.ask(ctx, answer{"SELECT FULL_COLLATION_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME = " +
		literal(set) + " ORDER BY 1", func(rows *sql.Rows) error {
		var name string
		err := rows.Scan(&name)
		possible = append(possible, name)
		return err
	}})
	if err != nil {
		return explain("ask for the server's collations", err)
	}
	return services.Rejected("parameters.collate: %q is none of character set %s; possible are %s", p.Collate, p.CharacterSet, strings.Join(possible, ", "))
}
