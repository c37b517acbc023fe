package postgres

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Plan is what a plan of this backend says about its databases.
type Plan struct {
	// Connections is how many sessions all applications of an instance may
	// hold together.
	Connections int `json:"connections"`
	// ConnectionsPerBinding is how many sessions one binding may hold; 0: as
	// many as the instance.
	ConnectionsPerBinding int `json:"connections_per_binding"`
	// Storage is how large a database may become; 0: without limit.
	Storage services.Size `json:"storage"`
	// TempFileLimit is how much disk one session's sorts may use; 0: as the
	// server is configured.
	TempFileLimit services.Size `json:"temp_file_limit"`
	// Locks is how many locks one session may hold.
	Locks int `json:"locks"`
	// StatementTimeout is the default time-out of a statement, which
	// applications may change; 0: none.
	StatementTimeout services.Duration `json:"statement_timeout"`
	// Extensions is what the parameter "extensions" may name.
	Extensions []string `json:"extensions"`
	// Spares is how many empty databases are kept ready.
	Spares int `json:"spares"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() {
	p.Connections = 20
	p.Locks = 5000
}

const (
	maxConnections = 10000
	minStorage     = 16 << 20 // an empty database has half of it
	minTempFiles   = 1 << 20
	minLocks       = 100
	maxLocks       = 1000000
	maxSpares      = 100
	maxTimeout     = services.Duration(24 * time.Hour)
)

var extensionRule = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(p.Connections < 1 || p.Connections > maxConnections, "connections: must be from 1 to %d", maxConnections)
	fault(p.ConnectionsPerBinding < 0 || p.ConnectionsPerBinding > p.Connections,
		"connections_per_binding: must be from 1 to connections, or left out for as many")
	fault(p.Storage != 0 && p.Storage < minStorage, "storage: must be %s, and 16MB at least", services.SizeForm)
	fault(p.TempFileLimit != 0 && p.TempFileLimit < minTempFiles, "temp_file_limit: must be %s, and 1MB at least", services.SizeForm)
	fault(p.Locks < minLocks || p.Locks > maxLocks, "locks: must be from %d to %d", minLocks, maxLocks)
	fault(p.StatementTimeout < 0 || p.StatementTimeout > maxTimeout, "statement_timeout: must be %s, and 24h at most", services.DurationForm)
	fault(p.Spares < 0 || p.Spares > maxSpares, "spares: must be from 0 to %d", maxSpares)
	seen := map[string]bool{}
	for _, e := range p.Extensions {
		fault(!extensionRule.MatchString(e), "extensions: %q is not the name of an extension", e)
		fault(seen[e], "extensions: %q is there twice", e)
		seen[e] = true
	}
	return errors.Join(faults...)
}

// perBinding is the number of sessions that one binding may hold.
func (p Plan) perBinding() int {
	if p.ConnectionsPerBinding == 0 {
		return p.Connections
	}
	return p.ConnectionsPerBinding
}
