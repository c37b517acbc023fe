package postgres

import (
	"maps"
	"slices"
	"strings"
)

// encodings returns PostgreSQL's server encodings under the names that users
// know, Trove's (MySQL's) among them. PostgreSQL documentation, "Character Set
// Support".
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
