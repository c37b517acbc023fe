package mysqldb

import (
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Params are the user's parameters of a database, named as in OpenStack Trove.
type Params struct {
	// CharacterSet is by default the collation's; without that, utf8mb4.
	CharacterSet string `json:"character_set"`
	// Collate is a collation; default: the character set's own.
	Collate string `json:"collate"`
}

var collateRule = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// Validate implements services.Validator.
func (p *Params) Validate() error {
	var f check.Faults
	if p.CharacterSet != "" {
		f.OneOf("character_set", p.CharacterSet, CharacterSets()...)
	}
	f.If(p.Collate != "" && !collateRule.MatchString(p.Collate), `collate: must be the name of a collation in lower case, such as "latin2_general_ci"`)
	return f.Err()
}

// CheckFixed refuses parameters of an update that differ from those before. A database's character
// set and collation are only defaults for its tables, which applications can change.
func (p Params) CheckFixed(was Params) error {
	const instead = "change it in an application with ALTER DATABASE and ALTER TABLE"
	switch {
	case p.CharacterSet != "" && p.Charset() != was.Charset():
		return services.FixedAtCreation("character_set", instead)
	case p.Collate != "" && p.Collate != was.Collate:
		return services.FixedAtCreation("collate", instead)
	}
	return nil
}

// Charset is the database's character set by the server's name; empty if the collation decides.
func (p Params) Charset() string {
	switch {
	case p.CharacterSet == "utf8": // what it stands for depends on the server's old_mode
		return "utf8mb3"
	case p.CharacterSet == "" && p.Collate == "":
		return defaultCharacterSet
	}
	return p.CharacterSet
}

// CharacterSets are MariaDB's (documentation, "Supported Character Sets and Collations").
func CharacterSets() []string {
	return []string{
		"armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932",
		"dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u",
		"latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620",
		"ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
	}
}

// defaultCharacterSet does not depend on the server's configuration.
const defaultCharacterSet = "utf8mb4"
