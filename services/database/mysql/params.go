package mysql

import (
	"regexp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// InstanceParams are the user's parameters of an instance, in the vocabulary
// of OpenStack Trove.
type InstanceParams struct {
	// CharacterSet is the database's; default: the collation's, and where
	// none is given either, utf8mb4.
	CharacterSet string `json:"character_set"`
	// Collate is the database's collation; default: the character set's own.
	Collate string `json:"collate"`
}

var collateRule = regexp.MustCompile(`^[a-z0-9_]{1,64}$`)

// Validate implements services.Validator.
func (p *InstanceParams) Validate() error {
	var f check.Faults
	if p.CharacterSet != "" {
		f.OneOf("character_set", p.CharacterSet, characterSets()...)
	}
	f.If(p.Collate != "" && !collateRule.MatchString(p.Collate), `collate: must be the name of a collation in lower case, such as "latin2_general_ci"`)
	return f.Err()
}

// BindingParams are the user's parameters of a binding.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// CheckUpdate implements services.UpdateChecker. What a database is made with
// is only a default for its tables, which its applications may change
// themselves.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	const instead = "change it in an application with ALTER DATABASE and ALTER TABLE"
	was, is := r.Previous.Params, r.Instance.Params
	switch {
	case is.CharacterSet != "" && is.characterSet() != was.characterSet():
		return services.FixedAtCreation("character_set", instead)
	case is.Collate != "" && is.Collate != was.Collate:
		return services.FixedAtCreation("collate", instead)
	}
	return nil
}

// characterSet is the one that the database is made with, by the name that the
// server gives it; empty where the collation decides.
func (p InstanceParams) characterSet() string {
	switch {
	case p.CharacterSet == "utf8":
		return "utf8mb3"
	case p.CharacterSet == "" && p.Collate == "":
		return defaultCharacterSet
	}
	return p.CharacterSet
}

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
