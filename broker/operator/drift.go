package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"

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
	// Unanswered says which servers did not answer, and why; nil: all did. Nothing else
	// is said about them.
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
			d.Unanswered = errors.Join(d.Unanswered, fmt.Errorf("ask backend %s what it holds: %w", s.Key(), err))
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

// inventory is what the state has on one server, by safe names.
type inventory struct {
	instances map[string]string    // the IDs
	bindings  map[string][2]string // the IDs of instance and binding
	// stable are the names that the server must have: ready, with nothing in progress.
	stable map[string]bool
	// resources are the instances' names on the server, if they can be derived.
	resources map[string]string
}

func (v *inventory) owns(f services.Resource) bool {
	if f.Binding != "" {
		_, ok := v.bindings[f.Binding]
		return ok
	}
	_, ok := v.instances[f.Instance]
	return ok
}

// owned asks all inventories: two backends may be on one server, and each lists the
// other's resources, too.
func owned(all map[string]*inventory, f services.Resource) bool {
	for _, v := range all {
		if v.owns(f) {
			return true
		}
	}
	return false
}

// compare returns the differences between a server and the inventory.
func (v *inventory) compare(server string, found []services.Resource) []Difference {
	var rows []Difference
	listed := map[string]services.Resource{}
	for _, f := range found {
		listed[cmp.Or(f.Binding, f.Instance)] = f
		if !v.owns(f) {
			rows = append(rows, Difference{Backend: server, Kind: Orphan, Resource: f.Name, Listing: f})
		}
	}
	for name, id := range v.instances {
		f, exists := listed[name]
		whole := v.resources[name]
		switch {
		case !v.stable[name] || exists && (whole == "" || f.Name == whole):
		case exists:
			rows = append(rows, Difference{Backend: server, Kind: Incomplete, Resource: f.Name, InstanceID: id, Expected: whole})
		default:
			rows = append(rows, Difference{Backend: server, Kind: Missing, Resource: whole, InstanceID: id})
		}
	}
	for name, ids := range v.bindings {
		if _, exists := listed[name]; v.stable[name] && !exists {
			rows = append(rows, Difference{Backend: server, Kind: Missing, InstanceID: ids[0], BindingID: ids[1]})
		}
	}
	return rows
}

// inventories reads the state, by the servers' keys in the catalog.
func (o *Operator) inventories(ctx context.Context) (map[string]*inventory, error) {
	all := map[string]*inventory{}
	for _, s := range o.Catalog.Servers() {
		all[s.Key()] = &inventory{instances: map[string]string{}, bindings: map[string][2]string{}, stable: map[string]bool{}, resources: map[string]string{}}
	}
	busy, err := o.busy(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := o.instances(ctx, query{})
	if err != nil {
		return nil, err
	}
	inventoryOf, resourceOf := map[string]*inventory{}, map[string]string{}
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
		name := operation.SafeName(i)
		v.instances[name] = i.ID
		v.resources[name] = o.resourceName(i, plan)
		v.stable[name] = i.Status == store.Ready && !busy[i.ID]
	}
	bindings, err := o.bindings(ctx, query{})
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		v, ok := inventoryOf[b.InstanceID]
		if !ok {
			continue // its instance was deleted in between
		}
		name := services.BindingName(resourceOf[b.InstanceID], b.ID)
		v.bindings[name] = [2]string{b.InstanceID, b.ID}
		v.stable[name] = b.Status == store.Ready && !busy[b.InstanceID] && !busy[b.ID]
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
