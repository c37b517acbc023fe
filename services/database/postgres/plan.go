package postgres

import (
	"cmp"
	"regexp"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
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

var _ services.FootprintReporter[Plan] = (*backend)(nil)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }
