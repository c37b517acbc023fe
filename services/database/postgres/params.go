package postgres

import (
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// InstanceParams are the user's parameters of an instance, in the vocabulary
// of OpenStack Trove.
type InstanceParams struct {
	// CharacterSet is the database's encoding under any of its usual names;
	// default: the server's.
	CharacterSet string `json:"character_set"`
	// Collate is a locale of the server; default: the server's where it fits
	// the encoding, else "C".
	Collate string `json:"collate"`
	// Extensions are made in the database; the plan says which there may be.
	Extensions []string `json:"extensions"`
}

// A locale's name: what `locale -a` prints, and nothing that could leave a
// string literal.
var collateRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}$`)

// Validate implements services.Validator.
func (p *InstanceParams) Validate() error {
	var f check.Faults
	if p.CharacterSet != "" {
		_, known := encoding(p.CharacterSet)
		f.If(!known, "character_set: must be one of %s", strings.Join(characterSets(), ", "))
	}
	f.If(p.Collate != "" && !collateRule.MatchString(p.Collate), `collate: must be the name of a locale, such as "C" or "de_DE.utf8"`)
	for i, e := range p.Extensions {
		f.If(!extensionRule.MatchString(e), "extensions: the name at position %d must begin with a lower-case letter and have at most 63 characters of a-z, 0-9, _ and -", i+1)
	}
	f.Unique("extensions", p.Extensions)
	return f.Err()
}

// BindingParams are the user's parameters of a binding.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// CheckInstance implements services.InstanceChecker.
func (b *backend) CheckInstance(inst instance) error {
	for _, e := range inst.Params.Extensions {
		if slices.Contains(inst.Plan.Extensions, e) {
			continue
		}
		if len(inst.Plan.Extensions) == 0 {
			return services.Rejected("parameters.extensions: this plan allows no extension; leave %q out or choose another plan", e)
		}
		return services.Rejected("parameters.extensions: this plan does not allow %q; possible are %s", e, strings.Join(inst.Plan.Extensions, ", "))
	}
	return nil
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	const instead = "create a new instance with it and copy the data"
	was, is := r.Previous.Params, r.Instance.Params
	prevEncoding, _ := encoding(was.CharacterSet)
	nextEncoding, _ := encoding(is.CharacterSet)
	switch {
	case is.CharacterSet != "" && nextEncoding != prevEncoding:
		return services.FixedAtCreation("character_set", instead)
	case is.Collate != "" && is.Collate != was.Collate:
		return services.FixedAtCreation("collate", instead)
	}
	return nil
}
