package powerdns

import (
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
)

// InstanceParams are the user's parameters of an instance.
type InstanceParams struct {
	// Zone is the zone's complete name, below one of the plan's parents;
	// default: a name that is made from the instance's ID.
	Zone string `json:"zone"`
	// Records are what the zone holds from the beginning; an update changes
	// them. What applications change themselves is not touched.
	Records []Record `json:"records"`
}

// Record is all records of one name and type.
type Record struct {
	// Name is relative to the zone, "@" for the zone itself, or complete with
	// a final dot.
	Name string `json:"name"`
	Type string `json:"type"`
	// TTL is in seconds; 0: the plan's default.
	TTL int `json:"ttl"`
	// Values are in the form of zone files, with complete names; of a TXT
	// record, the text itself. None: there shall be no such record.
	Values []string `json:"values"`
}

const (
	maxZone = 200 // leaves room for names in the zone
	maxSets = 1000
)

// Validate implements services.Validator. What depends on the plan is left to
// CheckInstance.
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

// recordTypes are those that parameters may name.
var recordTypes = []string{"A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// zoneName is the name of the instance's zone: the user's, or one that derives
// from the instance's ID. It is empty where the plan says too little.
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

// parentOf returns the plan's parent that zone lies below, the nearest one.
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
func (b *backend) CheckInstance(inst instance) error {
	return checkZone(inst, zoneName(inst))
}

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
