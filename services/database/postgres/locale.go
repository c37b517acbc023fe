package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/lib/pq/pqerror"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database"
)

// locale returns the options of CREATE DATABASE for the parameters; none if they ask for
// the server's defaults.
func (st *state) locale(p InstanceParams) (string, error) {
	enc := st.Template.Encoding
	if p.CharacterSet != "" {
		wanted, ok := encoding(p.CharacterSet)
		if !ok {
			return "", services.Rejected("parameters.character_set: must be one of %s", strings.Join(characterSets(), ", "))
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

// localeRejected names the locales that the server accepts. The server checks the name
// first and then whether it fits the encoding.
func (b *backend) localeRejected(ctx context.Context, s *session, st *state, p InstanceParams, cause error) error {
	enc := st.Template.Encoding
	if p.CharacterSet != "" {
		enc, _ = encoding(p.CharacterSet)
	}
	if p.Collate == "" {
		return services.Rejected("parameters.character_set: this server does not support it; choose another, or leave it out")
	}
	var possible []string
	err := s.query(ctx, `SELECT DISTINCT collcollate FROM pg_catalog.pg_collation
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
	if is(cause, pqerror.WrongObjectType) {
		return services.Rejected("parameters.collate: the server has no locale %q; possible with this character_set are %s%s", p.Collate, strings.Join(possible, ", "), rest)
	}
	return services.Rejected("parameters.collate: %q does not fit character set %s; possible are %s%s", p.Collate, enc, strings.Join(possible, ", "), rest)
}

// encodings returns PostgreSQL's server encodings under their usual names, Trove's
// (MySQL's) among them (PostgreSQL documentation, "Character Set Support").
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
