package powerdns

import (
	pdns "github.com/joeig/go-powerdns/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/dns/zone"
)

// Plan is the configuration of a plan.
type Plan struct {
	zone.Plan
	DNSSEC bool `json:"dnssec"`
}

// InstanceParams are the user's parameters of an instance.
type InstanceParams = zone.Params

// BindingParams are the user's parameters of a binding: read_write changes the zone by
// dynamic update, read_only transfers it.
type BindingParams = access.Params

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// zoneName is the name of the instance's zone; empty if neither the user nor the plan has one.
func zoneName(inst instance) string { return zone.Name(inst.Name, inst.Plan.Plan, inst.Params) }

// CheckInstance implements services.InstanceChecker.
func (b *backend) CheckInstance(inst instance) error {
	return inst.Plan.Check(zoneName(inst), inst.Params.Records)
}

// CheckUpdate implements services.UpdateChecker.
func (b *backend) CheckUpdate(r services.UpdateRequest[Plan, InstanceParams]) error {
	if err := r.Instance.Plan.CheckUpdate(r.Instance.Name, zoneName(r.Previous), r.Instance.Params); err != nil {
		return err
	}
	if r.Previous.Plan.DNSSEC && !r.Instance.Plan.DNSSEC {
		return services.Rejected("plan_id: the plan does not sign zones, and an unsigned zone fails for everybody who holds its DS record; make a new instance of it")
	}
	return nil
}

// replacement writes a set, or removes one without values.
func replacement(key zone.Key, set zone.Set) pdns.RRset {
	r := pdns.RRset{
		Name: pdns.String(key.Name), Type: pdns.RRTypePtr(pdns.RRType(key.Type)), TTL: pdns.Uint32(set.TTL),
		ChangeType: pdns.ChangeTypePtr(pdns.ChangeTypeReplace), Records: []pdns.Record{},
	}
	if len(set.Values) == 0 {
		r.ChangeType, r.TTL = pdns.ChangeTypePtr(pdns.ChangeTypeDelete), nil
	}
	for _, value := range set.Values {
		r.Records = append(r.Records, pdns.Record{Content: pdns.String(value), Disabled: pdns.Bool(false)})
	}
	return r
}
