package trove

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

// Plan is the configuration of a plan.
type Plan struct {
	// Datastore is the datastore's name in Trove, Version that of its version.
	Datastore string `json:"datastore"`
	Version   string `json:"version"`
	// Flavor is the name or ID of the server's flavor.
	Flavor string `json:"flavor"`
	// Volume is the size of the server's volume in whole GB.
	Volume services.Size `json:"volume"`
	// VolumeType is the name of the volume's type; empty: the cloud's default.
	VolumeType string `json:"volume_type"`
	// Network is the ID of the network that the server is attached to; empty: Trove's.
	Network string `json:"network"`
	// AvailabilityZone is the compute service's; empty: any.
	AvailabilityZone string `json:"availability_zone"`
	// Public gives the server a public address as well.
	Public bool `json:"public"`
	// AllowedCIDRs are the ranges that may connect to the server; none: Trove's default.
	AllowedCIDRs []string `json:"allowed_cidrs"`
}

const maxVolume = 64 * services.Terabyte

var (
	nameRule = regexp.MustCompile(`^[^\x00-\x1f\x7f]{1,255}$`)
	uuidRule = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
)

// datastores are those that speak MySQL's protocol.
func datastores() []string { return []string{"mysql", "mariadb", "percona"} }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.OneOf("datastore", p.Datastore, datastores()...)
	for key, value := range map[string]string{"version": p.Version, "flavor": p.Flavor} {
		f.If(!nameRule.MatchString(value), "%s: is missing; it is a name in Trove, at most 255 characters long", key)
	}
	for key, value := range map[string]string{"volume_type": p.VolumeType, "availability_zone": p.AvailabilityZone} {
		f.If(value != "" && !nameRule.MatchString(value), "%s: must be a name of at most 255 characters, or left out", key)
	}
	f.If(p.Volume < services.Gigabyte || p.Volume > maxVolume || p.Volume%services.Gigabyte != 0,
		`volume: must be a whole number of GB, such as "5GB"`)
	f.If(p.Network != "" && !uuidRule.MatchString(p.Network), "network: must be the ID of a network, or left out")
	for _, cidr := range p.AllowedCIDRs {
		_, err := netip.ParsePrefix(cidr)
		f.If(err != nil, `allowed_cidrs: %q is not a range such as "10.1.0.0/16"`, cidr)
	}
	return f.Err()
}

// gigabytes is the size of the volume as Trove counts.
func (p Plan) gigabytes() int { return int(p.Volume / services.Gigabyte) }

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Volume} }

// InstanceParams are the user's parameters of an instance.
type InstanceParams = mysqldb.Params

// BindingParams are the user's parameters of a binding.
type BindingParams struct {
	Role access.Role `json:"role"`
}

// SetDefaults implements services.Defaulter.
func (p *BindingParams) SetDefaults() { p.Role = access.ReadWrite }

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Role == access.ReadOnly {
		return fmt.Errorf("role: Trove has no users that can only read; leave it out, or use a plan of another backend for %q", access.ReadOnly)
	}
	return p.Role.Check()
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// characterSet is the database's as Trove knows it: by MySQL's older name.
func characterSet(p InstanceParams) string {
	set := p.Charset()
	if set == "" {
		set, _, _ = strings.Cut(p.Collate, "_")
	}
	return troveName(set)
}

// collation is the database's as Trove knows it; empty: the character set's own.
func collation(p InstanceParams) string {
	set, rest, ok := strings.Cut(p.Collate, "_")
	if !ok {
		return p.Collate
	}
	return troveName(set) + "_" + rest
}

// troveName is Trove's name of a character set.
func troveName(set string) string {
	if set == "utf8mb3" {
		return "utf8"
	}
	return set
}

// CheckInstance implements services.InstanceChecker. A collation begins with the name of its
// character set. Which there are, Trove says when it is asked for the server.
func (b *backend) CheckInstance(inst instance) error {
	set, collate := characterSet(inst.Params), collation(inst.Params)
	if !slices.Contains(mysqldb.CharacterSets(), set) {
		return services.Rejected("parameters.collate: must begin with the name of a character set, such as latin2_general_ci")
	}
	if collate != "" && collate != set && !strings.HasPrefix(collate, set+"_") {
		return services.Rejected("parameters.collate: %q does not belong to character set %s: choose one whose name begins with %s_, or leave it out", inst.Params.Collate, inst.Params.CharacterSet, set)
	}
	return nil
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	const instead = "create an instance of that plan and copy the data"
	was, is := r.Previous.Plan, r.Instance.Plan
	switch {
	case is.Volume < was.Volume:
		return services.Rejected("the plan's volume has %s and the instance's has %s, and volumes cannot shrink: choose a plan with as much or more, or %s", is.Volume, was.Volume, instead)
	case is.Datastore != was.Datastore || is.Version != was.Version:
		return services.Rejected("the plan has version %s of the datastore %s and the instance version %s of %s, which an update does not change: %s", is.Version, is.Datastore, was.Version, was.Datastore, instead)
	}
	return r.Instance.Params.CheckFixed(r.Previous.Params)
}
