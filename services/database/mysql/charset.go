package mysql

// characterSets are those that a database can have (MariaDB documentation,
// "Supported Character Sets and Collations"). What "utf8" stands for is the
// server's to say (its old_mode).
func characterSets() []string {
	return []string{
		"armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932",
		"dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u",
		"latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620",
		"ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
	}
}

// defaultCharacterSet is for databases whose user says nothing. It is named, so
// that it does not depend on how old the server's configuration is.
const defaultCharacterSet = "utf8mb4"
