// Package zone is what the DNS backends share: the names of zones, the parameters of instances
// and the limits of plans, and the records of a zone in the form of zone files.
package zone

import (
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is the part of a plan's configuration that all DNS backends have.
type Plan struct {
	// Parents are the domains below which zones are made, by default below the first.
	Parents []string `json:"parents"`
	// Reserved are labels directly below a parent that no zone may have.
	Reserved []string `json:"reserved"`
	// Records is how many records a zone may hold, without the server's own: SOA, NS of the
	// zone itself and DNSSEC.
	Records int `json:"records"`
	// MinTTL and DefaultTTL are times to live in seconds.
	MinTTL     int `json:"min_ttl"`
	DefaultTTL int `json:"default_ttl"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Records, p.MinTTL, p.DefaultTTL = 500, 60, 3600 }

const (
	// MaxTTL is what resolvers keep at most, in seconds (RFC 8767, section 4).
	MaxTTL = 7 * 24 * 3600
	// maxParent leaves room for a zone's label and the names in the zone.
	maxParent = 150
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(len(p.Parents) == 0, "parents: must name at least one domain, such as apps.example.com")
	canonical := make([]string, len(p.Parents))
	for i, parent := range p.Parents {
		name, ok := HostName(parent)
		f.If(!ok || name == "." || len(name) > maxParent, "parents: %q is not a domain of at most %d characters", parent, maxParent)
		canonical[i] = strings.TrimSuffix(name, ".")
	}
	f.Unique("parents", canonical)
	for _, label := range p.Reserved {
		f.If(!labelRule.MatchString(label), "reserved: %q is not a label: one part of a name, in lower case", label)
	}
	check.Range(&f, "records", p.Records, 1, 100000)
	f.If(p.MinTTL < 1 || p.MinTTL > MaxTTL, "min_ttl: must be from 1 to %d seconds", MaxTTL)
	f.If(p.DefaultTTL < p.MinTTL || p.DefaultTTL > MaxTTL, "default_ttl: must be from min_ttl to %d seconds", MaxTTL)
	return f.Err()
}

// Params are the user's parameters of an instance.
type Params struct {
	// Zone is a complete name below one of the plan's parents; default: one from the instance's ID.
	Zone string `json:"zone"`
	// Records are the user's. Records of applications are not touched.
	Records []Record `json:"records"`
}

// Record is all records of one name and type.
type Record struct {
	// Name is relative to the zone, "@" for the zone itself, or complete with a final dot.
	Name string `json:"name"`
	Type string `json:"type"`
	// TTL is in seconds; 0: the plan's default.
	TTL int `json:"ttl"`
	// Values are those of zone files, with complete names; of TXT, the text itself. An empty
	// list removes the record.
	Values []string `json:"values"`
}

const (
	maxZone = 200 // leaves room for names in the zone
	maxSets = 1000
)

// Validate implements services.Validator. CheckInstance checks what depends on the plan.
func (p *Params) Validate() error {
	var f check.Faults
	if p.Zone != "" {
		name, ok := HostName(p.Zone)
		f.If(!ok || strings.Count(name, ".") < 2 || strings.HasPrefix(name, "_"),
			"zone: must be a complete domain name, such as shop.apps.example.com; write letters beyond a-z in their xn-- form")
		f.If(len(name) > maxZone, "zone: must have at most %d characters", maxZone)
	}
	f.If(len(p.Records) > maxSets, "records: there must be at most %d entries", maxSets)
	return f.Err()
}

// Name is the complete name of an instance's zone, in lower case with its final dot; empty if
// neither the user nor the plan has one. instance is the Instance.Name.
func Name(instance string, p Plan, params Params) string {
	if params.Zone != "" {
		name, _ := HostName(params.Zone) // Validate has seen it
		return name
	}
	if len(p.Parents) == 0 {
		return ""
	}
	parent, _ := HostName(p.Parents[0])
	return instance + "." + parent
}

// ParentOf returns the nearest of the plan's parents that a zone lies below.
func (p Plan) ParentOf(zone string) (string, bool) {
	nearest := ""
	for _, candidate := range p.Parents {
		if parent, _ := HostName(candidate); Below(zone, parent) && len(parent) > len(nearest) {
			nearest = parent
		}
	}
	return nearest, nearest != ""
}

// Check rejects a zone that the plan does not allow, and records that it cannot have.
func (p Plan) Check(zone string, records []Record) error {
	parent, ok := p.ParentOf(zone)
	if !ok {
		return services.Rejected("parameters.zone: must lie below %s", strings.Join(p.Parents, " or "))
	}
	own := Labels(strings.TrimSuffix(zone, "."+parent))
	if top := own[len(own)-1]; slices.Contains(p.Reserved, top) {
		return services.Rejected("parameters.zone: %q directly below %s is reserved; choose another name", top, strings.TrimSuffix(parent, "."))
	}
	_, err := Parse(p, zone, records)
	return err
}

// CheckUpdate rejects an update that renames the zone, or that the plan p does not allow. was is
// the zone's name.
func (p Plan) CheckUpdate(instance, was string, params Params) error {
	if params.Zone != "" && Name(instance, p, params) != was {
		return services.FixedAtCreation("zone", "create a new instance with it")
	}
	if _, ok := p.ParentOf(was); !ok {
		return services.Rejected("plan_id: the plan has no zones below the domain of %s, only below %s; make a new instance of it",
			strings.TrimSuffix(was, "."), strings.Join(p.Parents, " and "))
	}
	return p.Check(was, params.Records)
}
