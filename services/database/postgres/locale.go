package postgres

import (
	"context"
	"database/sql"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// locale returns the options of CREATE DATABASE for the parameters; none where
// they ask for what every database has.
func (st *state) locale(p InstanceParams) (string, error) {
	enc := st.Template.Encoding
	if p.CharacterSet != "" {
		wanted, ok := encoding(p.CharacterSet)
		if !ok {
			return "", services.Rejected("parameters.character_set: is not known; possible are %s", strings.Join(characterSets(), ", "))
		}
		enc = wanted
	}
	collate := p.Collate
	if collate == "" && enc != st.Template.Encoding {
		collate = "C" // fits every encoding
	}
	if enc == st.Template.Encoding && (collate == "" || collate == st.Template.Collate && collate == st.Template.Ctype) {
		return "", nil
	}
	options := " ENCODING " + literal(enc)
	if collate == "" {
		return options, nil
	}
	if st.Version >= 150000 {
		options += " LOCALE_PROVIDER libc"
	}
	return options + " LC_COLLATE " + literal(collate) + " LC_CTYPE " + literal(collate), nil
}

// maxLocales is how many locales an error names.
const maxLocales = 30

// localeRejected says which locales the server would have taken. The server
// checks the name first and then whether it fits the encoding.
func (b *backend) localeRejected(ctx context.Context, s *session, st *state, p InstanceParams, cause error) error {
	enc := st.Template.Encoding
	if p.CharacterSet != "" {
		enc, _ = encoding(p.CharacterSet)
	}
	if p.Collate == "" {
		return services.Rejected("parameters.character_set: this server does not take it: choose another, or leave it out")
	}
	var possible []string
	err := s.query(ctx, `SELECT DISTINCT collcollate FROM pg_catalog.pg_collation
		WHERE collprovider = 'c' AND collcollate <> '' AND collcollate = collctype
		AND collencoding IN (-1, pg_catalog.pg_char_to_encoding(`+literal(enc)+`)) ORDER BY 1`,
		func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			possible = append(possible, name)
			return err
		})
	if err != nil {
		return explain("ask for the server's locales", err)
	}
	rest := ""
	if len(possible) > maxLocales {
		possible, rest = possible[:maxLocales], " and others"
	}
	if is(cause, wrongObjectType) {
		return services.Rejected("parameters.collate: the server has no locale %q; possible with this character_set are %s%s", p.Collate, strings.Join(possible, ", "), rest)
	}
	return services.Rejected("parameters.collate: %q does not fit character set %s; possible are %s%s", p.Collate, enc, strings.Join(possible, ", "), rest)
}
