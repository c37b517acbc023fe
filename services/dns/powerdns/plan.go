package powerdns

import (
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is the configuration of a plan.
type Plan struct {
	// Parents are the domains below which zones are made, by default below the first.
	Parents []string `json:"parents"`
	// Reserved are labels directly below a parent that no zone may have.
	Reserved []string `json:"reserved"`
	// Records is how many records a zone may hold, without the server's own: SOA, NS of the
	// zone itself and DNSSEC.
	Records int `json:"records"`
	// MinTTL and DefaultTTL are times to live in seconds.
	MinTTL     int  `json:"min_ttl"`
	DefaultTTL int  `json:"default_ttl"`
	DNSSEC     bool `json:"dnssec"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Records, p.MinTTL, p.DefaultTTL = 500, 60, 3600 }

const (
	maxTTL = 7 * 24 * 3600 // what resolvers keep at most (RFC 8767, section 4)
	// maxParent leaves room for a zone's label and the names in the zone.
	maxParent = 150
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(len(p.Parents) == 0, "parents: must name at least one domain, such as apps.example.com")
	canonical := make([]string, len(p.Parents))
	for i, parent := range p.Parents {
		name, ok := hostName(parent)
		f.If(!ok || name == "." || len(name) > maxParent, "parents: %q is not a domain of at most %d characters", parent, maxParent)
		canonical[i] = strings.TrimSuffix(name, ".")
	}
	f.Unique("parents", canonical)
	for _, label := range p.Reserved {
		f.If(!labelRule.MatchString(label), "reserved: %q is not a label: one part of a name, in lower case", label)
	}
	check.Range(&f, "records", p.Records, 1, 100000)
	f.If(p.MinTTL < 1 || p.MinTTL > maxTTL, "min_ttl: must be from 1 to %d seconds", maxTTL)
	f.If(p.DefaultTTL < p.MinTTL || p.DefaultTTL > maxTTL, "default_ttl: must be from min_ttl to %d seconds", maxTTL)
	return f.Err()
}

// InstanceParams are the user's parameters of an instance.
type InstanceParams struct {
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
func (p *InstanceParams) Validate() error {
	var f check.Faults
	if p.Zone != "" {
		name, ok := hostName(p.Zone)
		f.If(!ok || strings.Count(name, ".") < 2 || strings.HasPrefix(name, "_"),
			"zone: must be a complete domain name, such as shop.apps.example.com; write letters beyond a-z in their xn-- form")
		f.If(len(name) > maxZone, "zone: must have at most %d characters", maxZone)
	}
	f.If(len(p.Records) > maxSets, "records: there must be at most %d entries", maxSets)
	return f.Err()
}

// BindingParams are the user's parameters of a binding: read_write changes the zone by
// dynamic update, read_only transfers it.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// zoneName is the name of the instance's zone; empty if neither the user nor the plan has one.
func zoneName(inst instance) string {
	if inst.Params.Zone != "" {
		name, _ := hostName(inst.Params.Zone) // Validate has seen it
		return name
	}
	if len(inst.Plan.Parents) == 0 {
		return ""
	}
	parent, _ := hostName(inst.Plan.Parents[0])
	return inst.Name + "." + parent
}

// parentOf returns the nearest of the plan's parents that a zone lies below.
func (p Plan) parentOf(zone string) (string, bool) {
	nearest := ""
	for _, candidate := range p.Parents {
		if parent, _ := hostName(candidate); below(zone, parent) && len(parent) > len(nearest) {
			nearest = parent
		}
	}
	return nearest, nearest != ""
}

// CheckInstance implements services.InstanceChecker.
func (b *backend) CheckInstance(inst instance) error { return checkZone(inst, zoneName(inst)) }

func checkZone(inst instance, zone string) error {
	parent, ok := inst.Plan.parentOf(zone)
	if !ok {
		return services.Rejected("parameters.zone: must lie below %s", strings.Join(inst.Plan.Parents, " or "))
	}
	own := labels(strings.TrimSuffix(zone, "."+parent))
	if top := own[len(own)-1]; slices.Contains(inst.Plan.Reserved, top) {
		return services.Rejected("parameters.zone: %q directly below %s is reserved; choose another name", top, strings.TrimSuffix(parent, "."))
	}
	_, err := parseRecords(inst.Plan, zone, inst.Params.Records)
	return err
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	was := zoneName(r.Previous)
	if r.Instance.Params.Zone != "" && zoneName(r.Instance) != was {
		return services.FixedAtCreation("zone", "create a new instance with it")
	}
	if _, ok := r.Instance.Plan.parentOf(was); !ok {
		return services.Rejected("plan_id: the plan has no zones below the domain of %s, only below %s; make a new instance of it",
			strings.TrimSuffix(was, "."), strings.Join(r.Instance.Plan.Parents, " and "))
	}
	if r.Previous.Plan.DNSSEC && !r.Instance.Plan.DNSSEC {
		return services.Rejected("plan_id: the plan does not sign zones, and an unsigned zone fails for everybody who holds its DS record; make a new instance of it")
	}
	return checkZone(r.Instance, was)
}
