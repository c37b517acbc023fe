package mysql

import (
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
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

// InstanceParams are the user's parameters of an instance.
type InstanceParams = mysqldb.Params

// BindingParams are the user's parameters of a binding.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	return r.Instance.Params.CheckFixed(r.Previous.Params)
}
