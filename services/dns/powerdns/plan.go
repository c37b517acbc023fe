package powerdns

import "github.com/chandler-broker/chandler/services/check"

// Plan is what a plan of this backend says about its zones.
type Plan struct {
	// Parents are the domains below which zones are made; the first one is
	// where a zone goes whose user named none.
	Parents []string `json:"parents"`
	// Reserved are labels directly below a parent that no zone may have.
	Reserved []string `json:"reserved"`
	// Records is how many records a zone may hold, without those that are
	// the server's own: SOA, NS of the zone itself and DNSSEC.
	Records int `json:"records"`
	// MinTTL is the lowest time to live in seconds, DefaultTTL what a record
	// without one gets.
	MinTTL     int `json:"min_ttl"`
	DefaultTTL int `json:"default_ttl"`
	// DNSSEC signs the zones.
	DNSSEC bool `json:"dnssec"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() {
	p.Records = 500
	p.MinTTL = 60
	p.DefaultTTL = 3600
}

const (
	maxTTL = 7 * 24 * 3600 // what resolvers keep at most (RFC 8767, section 4)
	// maxParent leaves room for a zone's label and the names in the zone in
	// the 253 characters of a name.
	maxParent = 150
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(len(p.Parents) == 0, "parents: must name at least one domain, such as apps.example.com")
	seen := map[string]bool{}
	for _, parent := range p.Parents {
		canonical, ok := hostName(parent)
		f.If(!ok || canonical == "." || len(canonical) > maxParent, "parents: %q is not a domain of at most %d characters", parent, maxParent)
		f.If(seen[canonical], "parents: %q is listed twice", parent)
		seen[canonical] = true
	}
	for _, label := range p.Reserved {
		f.If(!labelRule.MatchString(label), "reserved: %q is not a label: one part of a name, in lower case", label)
	}
	check.Range(&f, "records", p.Records, 1, 100000)
	f.If(p.MinTTL < 1 || p.MinTTL > maxTTL, "min_ttl: must be from 1 to %d seconds", maxTTL)
	f.If(p.DefaultTTL < p.MinTTL || p.DefaultTTL > maxTTL, "default_ttl: must be from min_ttl to %d seconds", maxTTL)
	return f.Err()
}
