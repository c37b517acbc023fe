package postgres

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is the configuration of a plan.
type Plan struct {
	// Connections limits the sessions of an instance, ConnectionsPerBinding those of one
	// binding; 0: as many as the instance.
	Connections           int `json:"connections"`
	ConnectionsPerBinding int `json:"connections_per_binding"`
	// Storage limits the size of a database; 0: no limit.
	Storage services.Size `json:"storage"`
	// TempFileLimit limits the temporary files of one session; 0: the server's limit.
	TempFileLimit services.Size `json:"temp_file_limit"`
	// Locks limits the locks of one session.
	Locks int `json:"locks"`
	// StatementTimeout is the default, which applications may change; 0: none.
	StatementTimeout services.Duration `json:"statement_timeout"`
	// Extensions are those that the parameter "extensions" may name.
	Extensions []string `json:"extensions"`
	// Spares is how many empty databases are ready for new instances.
	Spares int `json:"spares"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Connections, p.Locks = 20, 5000 }

const (
	minStorage   = 16 * services.Megabyte // an empty database has half of it
	minTempFiles = services.Megabyte
	maxTimeout   = services.Duration(24 * time.Hour)
)

var extensionRule = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	check.Range(&f, "connections", p.Connections, 1, 10000)
	f.If(p.ConnectionsPerBinding < 0 || p.ConnectionsPerBinding > p.Connections,
		"connections_per_binding: must be from 1 to connections, or left out for as many")
	f.Size("storage", p.Storage, minStorage)
	f.Size("temp_file_limit", p.TempFileLimit, minTempFiles)
	check.Range(&f, "locks", p.Locks, 100, 1000000)
	f.If(p.StatementTimeout < 0 || p.StatementTimeout > maxTimeout, "statement_timeout: must be %s, and 24h at most", services.DurationForm)
	check.Range(&f, "spares", p.Spares, 0, 100)
	for _, e := range p.Extensions {
		f.If(!extensionRule.MatchString(e), "extensions: %q is not the name of an extension", e)
	}
	f.Unique("extensions", p.Extensions)
	return f.Err()
}

// perBinding is the number of sessions that one binding may hold.
func (p Plan) perBinding() int { return cmp.Or(p.ConnectionsPerBinding, p.Connections) }

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// InstanceParams are the user's parameters of an instance, named as in OpenStack Trove.
type InstanceParams struct {
	// CharacterSet is an encoding by any of its usual names; default: the server's.
	CharacterSet string `json:"character_set"`
	// Collate is a locale; default: the server's if it fits the encoding, else "C".
	Collate string `json:"collate"`
	// Extensions are some of the plan's.
	Extensions []string `json:"extensions"`
}

// collateRule matches what `locale -a` prints.
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
