package operation

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// legacyReconcile is a job of earlier releases, which had no rounds. What is left of them
// does nothing.
type legacyReconcile struct {
	Server string `json:"backend"` // its key
}

// Kind names the job in River's table.
func (legacyReconcile) Kind() string { return "keep" }

func (e *Engine) periodicJobs() []*river.PeriodicJob {
	return []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(time.Hour),
		func() (river.JobArgs, *river.InsertOpts) { return prune{}, &river.InsertOpts{Queue: maintenanceQueue} },
		&river.PeriodicJobOpts{RunOnStart: true})}
}

// reconcileSoon reconciles the instance's backend when a provision may have used a
// spare. The provision does not wait for it.
func (e *Engine) reconcileSoon(op store.Operation, server string) {
	plan, err := e.plan(op.ServiceID, op.PlanID)
	if err != nil {
		return // the next round does so
	}
	if r, ok := e.reconcileRounds[catalog.ServerKey(plan.Backend, server)]; ok && r.afterProvision.Load() {
		r.startEarly()
	}
}

// newReconcileRounds makes a round for each server whose backend is a Reconciler, by the
// server's key.
func (e *Engine) newReconcileRounds() map[string]*round {
	rounds := map[string]*round{}
	for _, s := range e.Catalog.Servers() {
		d, ok := e.Drivers[s.Key()]
		if !ok || d.Reconcile == nil {
			continue
		}
		r := &round{name: "keep/" + s.Key(), interval: e.ReconcileEvery, early: make(chan struct{}, 1)}
		r.batch = func(ctx context.Context, tx *store.Tx, after string) (string, error, error) {
			return e.reconcileBatch(ctx, tx, d, s, after, &r.afterProvision)
		}
		rounds[s.Key()] = r
	}
	return rounds
}

// reconcileBatchSize is the number of instances in one call of Reconcile.
const reconcileBatchSize = 500

func (e *Engine) reconcileBatch(ctx context.Context, tx *store.Tx, d *services.Driver, s catalog.Server, after string, early *atomic.Bool) (last string, failed, err error) {
	var request services.RawReconcile
	plans := map[string]*catalog.Plan{}
	for _, p := range e.Catalog.PlansOf(s.Backend) {
		plans[p.ID], request.Plans = p, append(request.Plans, p.Config)
	}
	rows, err := e.Store.ReadyInstances(ctx, tx, store.ReadyInstancesParams{
		PlanIds: slices.Collect(maps.Keys(plans)), Backend: s.Backend, Server: s.Name, After: after, Batch: reconcileBatchSize,
	})
	if err != nil {
		return "", nil, err
	}
	if len(rows) == reconcileBatchSize {
		last = rows[len(rows)-1].ID
	}
	for _, row := range rows {
		request.Instances = append(request.Instances, RawInstance(row, plans[row.PlanID]))
	}
	limited, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	var result services.ReconcileResult
	cut := false
	lost := store.HoldLocks(limited, tx, func(ctx context.Context) error {
		result, failed = d.Reconcile(ctx, request)
		cut = ctx.Err() != nil
		early.Store(result.AfterProvision)
		return nil
	})
	set, faults := conditionParams(rows, result, cut)
	failed = errors.Join(append(faults, failed)...)
	if lost != nil {
		return last, failed, lost
	}
	return last, failed, e.Store.SetConditions(ctx, tx, set)
}

// conditionParams returns the conditions of a batch's instances, and the errors. If the call
// was cut off, an error without a condition says nothing about the instance.
func conditionParams(rows []store.Instance, found services.ReconcileResult, cut bool) (set store.SetConditionsParams, faults []error) {
	for _, row := range rows {
		r, ok := found.Instances[row.ResourceKey()]
		faults = append(faults, r.Err)
		if !ok || cut && r.Err != nil && r.Condition.Message == "" {
			continue
		}
		set.Ids = append(set.Ids, row.ID)
		set.Conditions, set.Reasons = append(set.Conditions, printable(r.Condition.Message)), append(set.Reasons, string(r.Condition.Reason))
	}
	return set, faults
}
