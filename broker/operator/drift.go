package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// DriftKind says how a server and the state differ.
type DriftKind string

const (
	// Orphan is a resource that a server holds and the state does not know.
	Orphan DriftKind = "orphan"
	// Missing is an instance or binding of the state that its server does not hold.
	Missing DriftKind = "missing"
	// Incomplete is an instance of which the server holds only a part.
	Incomplete DriftKind = "incomplete"
)

// Difference is one difference between a server and the state.
type Difference struct {
	// Backend is the server's key.
	Backend string    `json:"backend"`
	Kind    DriftKind `json:"kind"`
	// Resource is the name on the server: of an orphan, of the part of an incomplete
	// instance that is left, and of a missing instance if it can be derived.
	Resource string `json:"resource,omitempty"`
	// InstanceID and BindingID are the platform's. Those of orphans are unknown.
	InstanceID string `json:"instance_id,omitempty"`
	BindingID  string `json:"binding_id,omitempty"`
	// Expected is the resource that is gone from an incomplete instance.
	Expected string `json:"-"`
	// Listing is an orphan as its backend lists it.
	Listing services.Resource `json:"-"`
}

// Drift is what differs between the servers and the state.
type Drift struct {
	Differences []Difference
	// Unanswered says which servers did not answer, and why; nil: all did. Their drift
	// is unknown.
	Unanswered error
}

// Drift compares every server with the state. It does so twice and reports what both
// comparisons found, because brokers may be at work meanwhile.
func (o *Operator) Drift(ctx context.Context) (Drift, error) {
	first, err := o.compareAll(ctx)
	if err != nil || len(first.Differences) == 0 {
		return first, err
	}
	second, err := o.compareAll(ctx)
	if err != nil {
		return Drift{}, err
	}
	again := map[Difference]bool{}
	for _, d := range second.Differences {
		again[d] = true
	}
	both := Drift{Unanswered: cmp.Or(first.Unanswered, second.Unanswered)}
	for _, d := range first.Differences {
		if again[d] {
			both.Differences = append(both.Differences, d)
		}
	}
	return both, nil
}

func (o *Operator) compareAll(ctx context.Context) (d Drift, err error) {
	before, err := o.inventories(ctx)
	if err != nil {
		return d, err
	}
	var differences []Difference
	for _, s := range o.Catalog.Servers() {
		list := o.Drivers[s.Key()].List
		if list == nil {
			continue
		}
		found, err := list(ctx, services.None{})
		if err != nil {
			d.Unanswered = errors.Join(d.Unanswered, fmt.Errorf("list the resources of backend %s: %w", s.Key(), err))
		} else {
			differences = append(differences, before[s.Key()].compare(s.Key(), found)...)
		}
	}
	// Instances and bindings accepted while the servers were listed are not orphans.
	after, err := o.inventories(ctx)
	if err != nil {
		return Drift{}, err
	}
	for _, difference := range differences {
		if difference.Kind != Orphan || !owned(after, difference.Listing) {
			d.Differences = append(d.Differences, difference)
		}
	}
	return d, nil
}

// inventory is the instances and bindings of the state on one server, by safe names.
type inventory map[string]item

type item struct {
	instanceID, bindingID string
	// resource is an instance's name on the server, if it can be derived.
	resource string
	// stable says that the server must have the item: it is ready, and no operation is in
	// progress.
	stable bool
}

// nameOf is the safe name of the owner of a resource.
func nameOf(r services.Resource) string { return cmp.Or(r.Binding, r.Instance) }

// owned asks all inventories: two backends may be on one server, and each lists the
// other's resources, too.
func owned(all map[string]inventory, r services.Resource) bool {
	for _, v := range all {
		if _, ok := v[nameOf(r)]; ok {
			return true
		}
	}
	return false
}

// compare returns the differences between a server and the inventory: orphans, instances,
// bindings.
func (v inventory) compare(server string, found []services.Resource) []Difference {
	var rows []Difference
	listed := map[string]services.Resource{}
	for _, r := range found {
		listed[nameOf(r)] = r
		if _, ok := v[nameOf(r)]; !ok {
			rows = append(rows, Difference{Backend: server, Kind: Orphan, Resource: r.Name, Listing: r})
		}
	}
	for name, i := range v {
		r, exists := listed[name]
		d := Difference{Backend: server, Kind: Missing, Resource: i.resource, InstanceID: i.instanceID, BindingID: i.bindingID}
		if exists {
			d.Kind, d.Resource, d.Expected = Incomplete, r.Name, i.resource
		}
		if i.stable && (!exists || i.resource != "" && i.resource != r.Name) {
			rows = append(rows, d)
		}
	}
	slices.SortStableFunc(rows, func(a, b Difference) int {
		return cmp.Or(cmp.Compare(a.BindingID, b.BindingID), cmp.Compare(a.InstanceID, b.InstanceID))
	})
	return rows
}

// inventories reads the state, by the servers' keys in the catalog.
func (o *Operator) inventories(ctx context.Context) (map[string]inventory, error) {
	all := map[string]inventory{}
	for _, s := range o.Catalog.Servers() {
		all[s.Key()] = inventory{}
	}
	busy, err := o.busy(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := o.instances(ctx, query{})
	if err != nil {
		return nil, err
	}
	inventoryOf, resourceOf := map[string]inventory{}, map[string]string{}
	for _, i := range instances {
		plan, ok := o.Catalog.Plan(i.ServiceID, i.PlanID)
		if !ok {
			continue // the check against the state at opening has refused this
		}
		v, ok := all[catalog.ServerKey(plan.Backend, i.Server)]
		if !ok {
			continue // a replica with a newer catalog has just placed it
		}
		inventoryOf[i.ID], resourceOf[i.ID] = v, i.ResourceKey()
		v[operation.SafeName(i)] = item{instanceID: i.ID, resource: o.resourceName(i, plan), stable: i.Status == store.Ready && !busy[i.ID]}
	}
	scratch, err := o.Store.ScratchResources(ctx, o.Store.Pool)
	if err != nil {
		return nil, fmt.Errorf("read the verifications of backups: %w", err)
	}
	for _, row := range scratch {
		if v, ok := all[row.Server]; ok {
			v[row.ResourceName] = item{}
		}
	}
	bindings, err := o.bindings(ctx, query{})
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		if v, ok := inventoryOf[b.InstanceID]; ok { // otherwise the instance was deleted in between
			stable := b.Status == store.Ready && !busy[b.InstanceID] && !busy[b.ID]
			v[services.BindingName(resourceOf[b.InstanceID], b.ID)] = item{instanceID: b.InstanceID, bindingID: b.ID, stable: stable}
		}
	}
	return all, nil
}

// busy are the IDs of instances and bindings with an operation in progress.
func (o *Operator) busy(ctx context.Context) (map[string]bool, error) {
	operations, err := o.Operations(ctx, Filter{Status: string(store.InProgress)})
	if err != nil {
		return nil, err
	}
	busy := map[string]bool{}
	for _, op := range operations {
		busy[cmp.Or(op.BindingID, op.InstanceID)] = true
	}
	return busy, nil
}
