package mysql

import (
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend says about its databases.
type Plan struct {
	// ConnectionsPerBinding is how many sessions one binding may hold.
	ConnectionsPerBinding int `json:"connections_per_binding"`
	// Bindings is how many bindings an instance may have at a time. The server
	// counts sessions by account only, so this and ConnectionsPerBinding
	// together bound an instance's.
	Bindings int `json:"bindings"`
	// Storage is how large a database may become; 0: without limit.
	Storage services.Size `json:"storage"`
	// StatementTimeout is the default time-out of a statement, which
	// applications may change; 0: as the server is configured.
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

var _ services.FootprintReporter[Plan] = (*backend)(nil)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }
