// Package placement chooses the server of a new instance: of those that answer and accept
// new instances, the one with the most free capacity.
package placement

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Options are the parts of a Placement.
type Options struct {
	Catalog *catalog.Catalog
	Store   *store.Store
	Drivers map[string]*services.Driver // by the servers' keys
	Logger  *slog.Logger
	// CheckEvery is how often servers are asked for their readiness and capacity.
	CheckEvery time.Duration
}

// Placement knows the servers of all backends. It is safe for concurrent use.
type Placement struct {
	Options
	mu      sync.Mutex
	health  map[string]health // by the servers' keys; of pools only
	drained map[string]bool   // by the servers' keys; overrides the catalog
}

// New makes a Placement, which assumes that servers answer until Watch has asked them.
func New(o Options) *Placement {
	return &Placement{Options: o, health: map[string]health{}, drained: map[string]bool{}}
}

// SetDrained drains a server of new instances, or ends that.
func (p *Placement) SetDrained(server string, drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained[server] = drained
}

// servers returns those of the backend, with their present Drain.
func (p *Placement) servers(backend string) []catalog.Server {
	p.mu.Lock()
	defer p.mu.Unlock()
	servers := slices.Clone(p.Catalog.ServersOf(backend))
	for i, s := range servers {
		if drained, isSet := p.drained[s.Key()]; isSet {
			servers[i].Drain = drained
		}
	}
	return servers
}

// FullError says that no server has the capacity for an instance.
type FullError struct {
	// Unreachable says that a server has, which does not answer at the moment.
	Unreachable bool
	reason      string
}

func (e *FullError) Error() string { return e.reason }

// Choose returns the name of the server for a new instance of the plan, whose row exists in
// tx. Others that choose one of the same backend wait until tx ends. The error may be a
// *FullError.
func (p *Placement) Choose(ctx context.Context, tx *store.Tx, plan *catalog.Plan, instanceID string) (string, error) {
	return p.chooseOf(ctx, tx, plan, instanceID, func(string) bool { return true })
}

// Accept returns a *FullError if the server takes no new instance of the plan.
func (p *Placement) Accept(ctx context.Context, tx *store.Tx, plan *catalog.Plan, instanceID, server string) error {
	_, err := p.chooseOf(ctx, tx, plan, instanceID, func(name string) bool { return name == server })
	return err
}

// chooseOf is Choose among some servers.
func (p *Placement) chooseOf(ctx context.Context, tx *store.Tx, plan *catalog.Plan, instanceID string, wanted func(server string) bool) (string, error) {
	servers := slices.DeleteFunc(p.servers(plan.Backend), func(s catalog.Server) bool { return !wanted(s.Name) })
	if len(servers) == 1 && !servers[0].Drain && !servers[0].Capacity.Limited() {
		return servers[0].Name, nil
	}
	footprint, loads, err := p.loads(ctx, tx, plan, instanceID)
	if err != nil {
		return "", err
	}
	loads = slices.DeleteFunc(loads, func(l Load) bool { return !wanted(l.Server.Name) })
	best, full := choose(loads, footprint)
	if full != nil {
		p.Logger.WarnContext(ctx, "no server has room", "backend", plan.Backend, "plan", plan.Name, "instance_id", instanceID, "servers", describe(loads))
		return "", full
	}
	return best, nil
}

// Fits returns a *FullError if the instance's server has no capacity for it on another plan.
func (p *Placement) Fits(ctx context.Context, tx *store.Tx, have store.Instance, prev, next *catalog.Plan) error {
	if prev == next {
		return nil
	}
	servers := p.Catalog.ServersOf(next.Backend)
	if !slices.ContainsFunc(servers, func(s catalog.Server) bool { return s.Name == have.Server && s.Capacity.Limited() }) {
		return nil
	}
	driver := p.Drivers[catalog.ServerKey(next.Backend, have.Server)]
	before, err := driver.Footprint.OrZero(ctx, prev.Config)
	if err != nil {
		return err
	}
	footprint, loads, err := p.loads(ctx, tx, next, have.ID)
	if err != nil {
		return err
	}
	if footprint.Storage <= before.Storage && footprint.Memory <= before.Memory {
		return nil // the instance shrinks
	}
	for _, l := range loads {
		if l.Server.Name == have.Server && !l.fits(footprint) {
			p.Logger.WarnContext(ctx, "server has no room", "backend", next.Backend, "plan", next.Name, "instance_id", have.ID, "servers", describe([]Load{l}))
			return &FullError{reason: fmt.Sprintf("the server that the instance is on has no room for it on plan %q; "+
				"create another instance on that plan, or ask the operator of this broker", next.Name)}
		}
	}
	return nil
}

// loads locks the plan's servers against others' choices. It returns their loads without the
// instance, and the footprint of the plan.
func (p *Placement) loads(ctx context.Context, tx *store.Tx, plan *catalog.Plan, except string) (services.Space, []Load, error) {
	servers := p.Catalog.ServersOf(plan.Backend)
	footprint, err := p.Drivers[servers[0].Key()].Footprint.OrZero(ctx, plan.Config)
	if err != nil {
		return footprint, nil, err
	}
	if err := p.Store.LockQuota(ctx, tx, "servers of "+plan.Backend); err != nil {
		return footprint, nil, err
	}
	loads, err := p.Loads(ctx, tx, plan.Backend, except)
	return footprint, loads, err
}

// Load is a server with what is on it.
type Load struct {
	Server catalog.Server
	// Instances is how many it has, and Promised the most that their plans allow them.
	Instances int
	Promised  services.Space
	health
}

// health is a server's last answer.
type health struct {
	// Unreachable is why it does not answer; empty if it does.
	Unreachable string
	// Capacity is zero if the backend cannot tell, or could not because of measureError.
	services.Capacity
	measureError string
}

// Loads returns the loads of a backend's servers without one of the instances, in the
// catalog's order.
func (p *Placement) Loads(ctx context.Context, db store.DBTX, backend, except string) ([]Load, error) {
	plans := map[string]services.Space{}
	var ids []string
	for _, plan := range p.Catalog.PlansOf(backend) {
		footprint, err := p.Drivers[p.Catalog.ServersOf(backend)[0].Key()].Footprint.OrZero(ctx, plan.Config)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", plan.Name, err)
		}
		plans[plan.ID] = footprint
		ids = append(ids, plan.ID)
	}
	rows, err := p.Store.CountPlacements(ctx, db, store.CountPlacementsParams{PlanIds: ids, ExcludedID: except})
	if err != nil {
		return nil, fmt.Errorf("read what is on the servers: %w", err)
	}
	var loads []Load
	for _, s := range p.servers(backend) {
		l := Load{Server: s, health: p.healthOf(s.Key())}
		for _, row := range rows {
			if row.Server == s.Name {
				n := services.Size(row.Instances)
				l.Instances += int(row.Instances)
				// A change of the plan may still be undone.
				l.Promised.Storage += n * max(plans[row.PlanID].Storage, plans[row.TargetID].Storage)
				l.Promised.Memory += n * max(plans[row.PlanID].Memory, plans[row.TargetID].Memory)
			}
		}
		loads = append(loads, l)
	}
	return loads, nil
}

// choose returns the name of the server with the most free capacity.
func choose(loads []Load, footprint services.Space) (string, *FullError) {
	allUnreachable := !slices.ContainsFunc(loads, func(l Load) bool { return l.Unreachable == "" })
	var best *Load
	unreachableFits := false
	for i := range loads {
		l := &loads[i]
		switch {
		case l.Server.Drain || !l.fits(footprint):
		case l.Unreachable != "" && !allUnreachable:
			unreachableFits = true
		case best == nil || preferable(*l, *best, footprint):
			best = l
		}
	}
	switch {
	case best != nil:
		return best.Server.Name, nil
	case unreachableFits:
		return "", &FullError{Unreachable: true, reason: "the servers that have room do not answer at the moment; repeat the request later"}
	}
	return "", &FullError{reason: "no server has room for another instance of this plan; ask the operator of this broker for more"}
}

// fits reports whether the server has the capacity for the footprint.
func (l Load) fits(footprint services.Space) bool { return l.remaining(footprint) >= 0 }

// remaining is the fraction of the scarcest limited resource that another instance would
// leave; negative if there is too little.
func (l Load) remaining(footprint services.Space) float64 {
	c := l.Server.Capacity
	return min(
		fraction(int64(l.Instances)+1, int64(c.Instances)),
		fraction(int64(l.Promised.Storage+footprint.Storage), int64(c.Storage)),
		fraction(int64(l.Promised.Memory+footprint.Memory), int64(c.Memory)),
		fraction(int64(l.Total.Storage-l.Free.Storage+footprint.Storage), int64(l.Total.Storage)),
		fraction(int64(l.Total.Memory-l.Free.Memory+footprint.Memory), int64(l.Total.Memory)),
	)
}

func fraction(used, limit int64) float64 {
	if limit == 0 {
		return 1
	}
	return float64(limit-used) / float64(limit)
}

// preferable reports whether a is preferable to b. Here, promised space that is not used yet
// counts too, although a server may promise more than it has. Between equals the number of
// instances decides, so that servers of unknown capacity fill evenly.
func preferable(a, b Load, footprint services.Space) bool {
	remaining := func(l Load) float64 {
		return min(l.remaining(footprint), fraction(int64(l.Promised.Storage), int64(l.Total.Storage)), fraction(int64(l.Promised.Memory), int64(l.Total.Memory)))
	}
	if left, other := remaining(a), remaining(b); left != other {
		return left > other
	}
	return a.Instances < b.Instances
}

// describe describes servers for the operator.
func describe(loads []Load) string {
	var all []string
	for _, l := range loads {
		text := fmt.Sprintf("%s: %d instances", l.Server.Key(), l.Instances)
		if n := l.Server.Capacity.Instances; n > 0 {
			text += fmt.Sprintf(" of %d", n)
		}
		for _, unit := range []struct {
			name                               string
			promised, capacity, free, measured services.Size
		}{
			{"storage", l.Promised.Storage, l.Server.Capacity.Storage, l.Free.Storage, l.Total.Storage},
			{"memory", l.Promised.Memory, l.Server.Capacity.Memory, l.Free.Memory, l.Total.Memory},
		} {
			if unit.capacity > 0 {
				text += fmt.Sprintf(", %s of %s %s promised", unit.promised, unit.capacity, unit.name)
			}
			if unit.measured > 0 {
				text += fmt.Sprintf(", %s of %s %s free", unit.free, unit.measured, unit.name)
			}
		}
		if l.Server.Drain {
			text += ", drained"
		}
		if l.Unreachable != "" {
			text += ", does not answer: " + l.Unreachable
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}
