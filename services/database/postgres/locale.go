package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// encoding returns the encoding that the parameters ask for.
func (st *state) encoding(p InstanceParams) string {
	name, _ := encoding(p.CharacterSet) // Validate has seen it
	return cmp.Or(name, st.Template.Encoding)
}

// locale returns the options of CREATE DATABASE; none for the server's defaults.
func (st *state) locale(p InstanceParams) string {
	enc, collate := st.encoding(p), p.Collate
	if collate == "" && enc != st.Template.Encoding {
		collate = "C" // fits every encoding
	}
	if enc == st.Template.Encoding && (collate == "" || collate == st.Template.Collate && collate == st.Template.Ctype) {
		return ""
	}
	options := " ENCODING " + literal(enc)
	if collate == "" {
		return options
	}
	if st.Version >= 150000 {
		options += " LOCALE_PROVIDER libc"
	}
	return options + " LC_COLLATE " + literal(collate) + " LC_CTYPE " + literal(collate)
}

// maxLocales is how many locales an error names.
const maxLocales = 30

// localeRejected names the locales that the server accepts.
func (b *backend) localeRejected(ctx context.Context, s *session, st *state, p InstanceParams, cause error) error {
	enc := st.encoding(p)
	if p.Collate == "" {
		return services.Rejected("parameters.character_set: this server does not support it; choose another, or leave it out")
	}
	var possible []string
	err := s.Query(ctx, `SELECT DISTINCT collcollate FROM pg_catalog.pg_collation
		WHERE collprovider = 'c' AND collcollate <> '' AND collcollate = collctype
		AND collencoding IN (-1, pg_catalog.pg_char_to_encoding(`+literal(enc)+`)) ORDER BY 1`,
		database.Into(&possible))
	if err != nil {
		return explain("ask for the server's locales", err)
	}
	rest := ""
	if len(possible) > maxLocales {
		possible, rest = possible[:maxLocales], " and others"
	}
	list := strings.Join(possible, ", ") + rest
	if is(cause, pqerror.WrongObjectType) {
		return services.Rejected("parameters.collate: the server has no locale %q; possible with this character_set are %s", p.Collate, list)
	}
	return services.Rejected("parameters.collate: %q does not fit character set %s; possible are %s", p.Collate, enc, list)
}

// encodings returns PostgreSQL's server encodings by their usual names, including MySQL's
// (PostgreSQL documentation, "Character Set Support").
func encodings() map[string]string {
	return map[string]string{
		"ascii": "SQL_ASCII", "sql_ascii": "SQL_ASCII",
		"utf8": "UTF8", "utf-8": "UTF8", "utf8mb3": "UTF8", "utf8mb4": "UTF8", "unicode": "UTF8",
		"latin1": "LATIN1", "iso-8859-1": "LATIN1", "latin2": "LATIN2", "iso-8859-2": "LATIN2",
		"latin3": "LATIN3", "iso-8859-3": "LATIN3", "latin4": "LATIN4", "iso-8859-4": "LATIN4",
		"latin5": "LATIN5", "iso-8859-9": "LATIN5", "latin6": "LATIN6", "iso-8859-10": "LATIN6",
		"latin7": "LATIN7", "iso-8859-13": "LATIN7", "latin8": "LATIN8", "iso-8859-14": "LATIN8",
		"latin9": "LATIN9", "iso-8859-15": "LATIN9", "latin10": "LATIN10", "iso-8859-16": "LATIN10",
		"iso-8859-5": "ISO_8859_5", "iso-8859-6": "ISO_8859_6",
		"iso-8859-7": "ISO_8859_7", "greek": "ISO_8859_7", "iso-8859-8": "ISO_8859_8", "hebrew": "ISO_8859_8",
		"win866": "WIN866", "cp866": "WIN866", "win874": "WIN874",
		"win1250": "WIN1250", "cp1250": "WIN1250", "win1251": "WIN1251", "cp1251": "WIN1251",
		"win1252": "WIN1252", "cp1252": "WIN1252", "win1253": "WIN1253", "cp1253": "WIN1253",
		"win1254": "WIN1254", "cp1254": "WIN1254", "win1255": "WIN1255", "cp1255": "WIN1255",
		"win1256": "WIN1256", "cp1256": "WIN1256", "win1257": "WIN1257", "cp1257": "WIN1257",
		"win1258": "WIN1258", "cp1258": "WIN1258",
		"koi8r": "KOI8R", "koi8-r": "KOI8R", "koi8u": "KOI8U", "koi8-u": "KOI8U",
		"euc_jp": "EUC_JP", "ujis": "EUC_JP", "euc_cn": "EUC_CN", "gb2312": "EUC_CN",
		"euc_kr": "EUC_KR", "euckr": "EUC_KR", "euc_tw": "EUC_TW",
	}
}

// encoding returns PostgreSQL's name of a character set, in any case.
func encoding(characterSet string) (string, bool) {
	name, ok := encodings()[strings.ToLower(characterSet)]
	return name, ok
}

func characterSets() []string { return slices.Sorted(maps.Keys(encodings())) }

// extend creates the wanted extensions, and drops previous ones that are no longer wanted.
func (b *backend) extend(ctx context.Context, s *session, n names, previous, wanted []string) error {
	unwanted := slices.DeleteFunc(slices.Clone(previous), func(e string) bool { return slices.Contains(wanted, e) })
	if len(unwanted)+len(wanted) == 0 {
		return nil
	}
	return b.inDatabase(ctx, s, n.database, func(t *session) error {
		for _, e := range unwanted {
			err := b.alterExtension(ctx, t, n, "drop extension "+e, "DROP EXTENSION IF EXISTS "+ident(e))
			if err != nil {
				return dropRejected(e, err)
			}
		}
		for _, e := range wanted {
			err := b.alterExtension(ctx, t, n, "create extension "+e, "CREATE EXTENSION IF NOT EXISTS "+ident(e)+" CASCADE")
			if err != nil {
				return createRejected(e, err)
			}
		}
		return nil
	})
}

// alterExtension runs a statement as the owner role, which makes the extension the tenant's
// own, with schema public, where extensions go by default, on the search path.
func (b *backend) alterExtension(ctx context.Context, t *session, n names, doing, statement string) error {
	return b.orNotYet(ctx, n.database, doing, func() error {
		return t.runAs(ctx, []string{n.owner}, "SET LOCAL search_path = public", "SET LOCAL ROLE "+ident(n.owner), statement, "SET LOCAL ROLE NONE")
	})
}

func createRejected(extension string, err error) error {
	rejected := func(why string) error { return services.Rejected("parameters.extensions: %q %s", extension, why) }
	switch {
	case is(err, pqerror.FeatureNotSupported, pqerror.UndefinedFile, pqerror.UndefinedObject):
		return rejected("is not installed on this server; leave it out, or ask the operator to install it")
	case is(err, pqerror.InsufficientPrivilege):
		return rejected("can only be made by a superuser of this server; leave it out, or ask the operator for it")
	case is(err, pqerror.InvalidSchemaName):
		return rejected("needs schema public, which this database no longer has, or hides from its owner: CREATE SCHEMA public, or leave the extension out")
	case is(err, pqerror.DuplicateObject, pqerror.DuplicateTable, pqerror.DuplicateFunction, pqerror.DuplicateSchema, pqerror.UniqueViolation):
		return rejected("makes an object that schema public has already: drop or rename that, or leave the extension out; the server says: " + pq.As(err).Message)
	case is(err, pqerror.UntranslatableCharacter, pqerror.CharacterNotInRepertoire):
		return rejected("does not work with the database's character_set; leave it out, or use another instance with utf8")
	}
	return explain("create extension "+extension, err)
}

func dropRejected(extension string, err error) error {
	switch {
	case is(err, pqerror.DependentObjectsStillExist):
		return services.Rejected("parameters.extensions: %q is in use in the database; drop what uses it first, or keep it in the list", extension)
	case is(err, pqerror.InsufficientPrivilege):
		return services.Rejected("parameters.extensions: %q does not belong to the database's owner; drop it with the binding that made it, or keep it in the list", extension)
	}
	return explain("drop extension "+extension, err)
}
