package mysql

import (
	"regexp"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is the configuration of a plan.
type Plan struct {
	// ConnectionsPerBinding is how many sessions one binding may hold.
	ConnectionsPerBinding int `json:"connections_per_binding"`
	// Bindings is how many bindings an instance may have: the server counts sessions by
	// account only, so that both limits together bound the instance's.
	Bindings int `json:"bindings"`
	// Storage limits the size of a database; 0: no limit.
	Storage services.Size `json:"storage"`
	// StatementTimeout is the default, which applications may change; 0: the server's.
	StatementTimeout services.Duration `json:"statement_timeout"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.ConnectionsPerBinding, p.Bindings = 10, 10 }

const (
	minStorage = services.Megabyte // an empty table has 64 kB
	maxTimeout = services.Duration(24 * time.Hour)
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	check.Range(&f, "connections_per_binding", p.ConnectionsPerBinding, 1, 10000)
	check.Range(&f, "bindings", p.Bindings, 1, 1000)
	f.Size("storage", p.Storage, minStorage)
	f.If(p.StatementTimeout < 0 || p.StatementTimeout > maxTimeout, "statement_timeout: must be %s, and 24h at most", services.DurationForm)
	return f.Err()
}

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// InstanceParams are the user's parameters of an instance, named as in OpenStack Trove.
type InstanceParams struct {
	// CharacterSet is by default the collation's; without that, utf8mb4.
	CharacterSet string `json:"character_set"`
	// Collate is a collation; default: the character set's own.
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

// CheckUpdate implements services.UpdateChecker. A database's character set and collation are
// only defaults for its tables, which applications can change.
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

// characterSet is the database's by the server's name; empty if the collation decides.
func (p InstanceParams) characterSet() string {
	switch {
	case p.CharacterSet == "utf8": // what it stands for depends on the server's old_mode
		return "utf8mb3"
	case p.CharacterSet == "" && p.Collate == "":
		return defaultCharacterSet
	}
	return p.CharacterSet
}

// characterSets are MariaDB's (documentation, "Supported Character Sets and Collations").
func characterSets() []string {
	return []string{
		"armscii8", "ascii", "big5", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932",
		"dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u",
		"latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620",
		"ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8", "utf8mb3", "utf8mb4",
	}
}

// defaultCharacterSet does not depend on the server's configuration.
const defaultCharacterSet = "utf8mb4"
