// Package placement chooses the server of a backend that an instance is made on:
// of those that answer and take new instances, the one with most room.
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

// Options is what a Placement is made of.
type Options struct {
	Catalog *catalog.Catalog
	Store   *store.Store
	Drivers map[string]*services.Driver // by the servers' keys
	Logger  *slog.Logger
	// CheckEvery is how often servers are asked whether they answer and how much of
	// them is left.
	CheckEvery time.Duration
}

// Placement knows the servers of all backends. It is safe for concurrent use.
type Placement struct {
	Options
	mu      sync.Mutex
	health  map[string]health // by the servers' keys; of pools only
	drained map[string]bool   // by the servers' keys; the catalog's word where there is none
}

// New makes a Placement. Until Watch has asked them, servers count as well.
func New(o Options) *Placement {
	return &Placement{Options: o, health: map[string]health{}, drained: map[string]bool{}}
}

// SetDrained keeps new instances off a server, or admits them again.
func (p *Placement) SetDrained(server string, drained bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drained[server] = drained
}

// servers are those of the backend, drained as they are now.
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

// FullError says that no server has room for what was asked.
type FullError struct {
	// Unreachable says that a server that does not answer at the moment has.
	Unreachable bool
	reason      string
}

func (e *FullError) Error() string { return e.reason }

// Choose returns the name of the server for a new instance of the plan, whose row
// is in tx already. Others that choose of the same backend wait until tx ends. The
// error may be a *FullError.
func (p *Placement) Choose(ctx context.Context, tx *store.Tx, plan *catalog.Plan, instanceID string) (string, error) {
	servers := p.servers(plan.Backend)
	if len(servers) == 1 && !servers[0].Drain && !servers[0].Capacity.Limited() {
		return servers[0].Name, nil
	}
	footprint, loads, err := p.loads(ctx, tx, plan, instanceID)
	if err != nil {
		return "", err
	}
	best, full := choose(loads, footprint)
	if full != nil {
		p.Logger.WarnContext(ctx, "no server has room", "backend", plan.Backend, "plan", plan.Name, "instance_id", instanceID, "servers", describe(loads))
		return "", full
	}
	return best, nil
}

// Fits returns a *FullError where the server that the instance is on has no room
// for it on another plan.
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
		return nil // a server that has been made smaller gets relief, not a refusal
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

// loads holds others off and returns how the plan's servers are loaded without
// the instance, and what an instance of the plan takes.
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
	// Instances is how many are there, and Promised the most that their plans let
	// them take.
	Instances int
	Promised  services.Space
	health
}

// health is what a server last said of itself.
type health struct {
	// Unreachable is why it does not answer; empty where it does.
	Unreachable string
	// Capacity is as far as it can tell; measureError is why it could not.
	services.Capacity
	measureError string
}

// Loads returns the servers of a backend in the catalog's order, as they are
// without one of the instances.
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
				// One that moves to another plan may still go back.
				l.Promised.Storage += n * max(plans[row.PlanID].Storage, plans[row.TargetID].Storage)
				l.Promised.Memory += n * max(plans[row.PlanID].Memory, plans[row.TargetID].Memory)
			}
		}
		loads = append(loads, l)
	}
	return loads, nil
}

// choose returns the name of the server with most room.
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

// fits says whether the server has room for what an instance takes.
func (l Load) fits(footprint services.Space) bool { return l.remaining(footprint) >= 0 }

// remaining is how much of the scarcest thing that is limited would be left with
// another instance, as a fraction; negative where there is too little.
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

// preferable says whether a is to be preferred. What is promised and not used yet
// counts here too, although a server may promise more than it has; between equals
// the number of instances decides, so that servers of which nothing is known fill
// evenly.
func preferable(a, b Load, footprint services.Space) bool {
	remaining := func(l Load) float64 {
		return min(l.remaining(footprint), fraction(int64(l.Promised.Storage), int64(l.Total.Storage)), fraction(int64(l.Promised.Memory), int64(l.Total.Memory)))
	}
	if left, other := remaining(a), remaining(b); left != other {
		return left > other
	}
	return a.Instances < b.Instances
}

// describe is how servers are, for the operator.
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
