package mysql

import (
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
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
	maxConnections = 10000
	maxBindings    = 1000
	minStorage     = 1 << 20 // an empty table has 64 kB
	maxTimeout     = services.Duration(24 * time.Hour)
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(p.ConnectionsPerBinding < 1 || p.ConnectionsPerBinding > maxConnections, "connections_per_binding: must be from 1 to %d", maxConnections)
	fault(p.Bindings < 1 || p.Bindings > maxBindings, "bindings: must be from 1 to %d", maxBindings)
	fault(p.Storage != 0 && p.Storage < minStorage, "storage: must be %s, and 1MB at least", services.SizeForm)
	fault(p.StatementTimeout < 0 || p.StatementTimeout > maxTimeout, "statement_timeout: must be %s, and 24h at most", services.DurationForm)
	return errors.Join(faults...)
}
