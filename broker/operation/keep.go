package operation

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// keep is the job that lets one backend look after what it made on a server.
type keep struct {
	Server string `json:"backend"` // its key
}

// Kind names the job in River's table.
func (keep) Kind() string { return "keep" }

// InsertOpts allows one such job a server at a time.
func (keep) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue:       upkeepQueue,
		MaxAttempts: 1, // the next round is the retry
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

func (e *Engine) periodicJobs() []*river.PeriodicJob {
	jobs := []*river.PeriodicJob{river.NewPeriodicJob(river.PeriodicInterval(time.Hour),
		func() (river.JobArgs, *river.InsertOpts) { return prune{}, &river.InsertOpts{Queue: upkeepQueue} },
		&river.PeriodicJobOpts{RunOnStart: true})}
	for _, name := range slices.Sorted(maps.Keys(e.Drivers)) {
		if !e.Drivers[name].Keeps() {
			continue
		}
		jobs = append(jobs, river.NewPeriodicJob(river.PeriodicInterval(e.KeepEvery),
			func() (river.JobArgs, *river.InsertOpts) { return keep{name}, nil },
			&river.PeriodicJobOpts{RunOnStart: true}))
	}
	return jobs
}

// keepSoon has the instance's backend look after its spares when a provision
// may have used one. It is no part of the provision: the row of the job there
// is would be a lock that all provisions wait for.
func (e *Engine) keepSoon(ctx context.Context, op store.Operation, server string) {
	plan, err := e.plan(op.ServiceID, op.PlanID)
	if err != nil {
		return // the next round will see to it
	}
	if d, err := e.driver(plan, server); err != nil || !d.Keeps() {
		return
	}
	key := catalog.ServerKey(plan.Backend, server)
	if _, err := e.client.Insert(ctx, keep{key}, nil); err != nil {
		e.Logger.WarnContext(ctx, "backend will look after its instances in the next round only", "server", key, "error", err.Error())
	}
}

type keepWorker struct {
	river.WorkerDefaults[keep]
	engine *Engine
}

// Work goes through the backend's ready instances in batches. An error ends
// the round; the next one comes soon.
func (w *keepWorker) Work(ctx context.Context, j *river.Job[keep]) error {
	e := w.engine
	d, ok := e.Drivers[j.Args.Server]
	servers := e.Catalog.Servers()
	i := slices.IndexFunc(servers, func(s catalog.Server) bool { return s.Key() == j.Args.Server })
	if !ok || i < 0 {
		return nil // another catalog's
	}
	var ids []string
	var configs []json.RawMessage
	for _, p := range e.Catalog.PlansOf(servers[i].Backend) {
		ids = append(ids, p.ID)
		configs = append(configs, p.Config)
	}
	const batch = 500
	for after, full := "", true; full; {
		rows, err := e.Store.ReadyInstances(ctx, e.Store.Pool, store.ReadyInstancesParams{
			PlanIds: ids, Backend: servers[i].Backend, Server: servers[i].Name, After: after, Batch: batch,
		})
		if err != nil {
			return fmt.Errorf("read the instances: %w", err)
		}
		if err := e.keepBatch(ctx, d, configs, rows); err != nil {
			if ctx.Err() == nil {
				e.Logger.WarnContext(ctx, "backend could not look after its instances", "server", j.Args.Server, "error", err.Error())
			}
			return nil
		}
		if full = len(rows) == batch; full {
			after = rows[len(rows)-1].ID
		}
	}
	return nil
}

func (e *Engine) keepBatch(ctx context.Context, d services.Driver, plans []json.RawMessage, rows []store.Instance) error {
	instances := make([]services.RawInstance, 0, len(rows))
	for _, row := range rows {
		plan, err := e.plan(row.ServiceID, row.PlanID)
		if err != nil {
			return err
		}
		instances = append(instances, rawInstance(row, plan))
	}
	limited, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	found, err := keepSafely(limited, d, plans, instances)
	if err != nil {
		return err
	}
	ids, conditions := make([]string, 0, len(rows)), make([]string, 0, len(rows))
	for _, row := range rows {
		ids = append(ids, row.ID)
		conditions = append(conditions, printable(found[row.Resource()].Message))
	}
	return e.Store.InTx(ctx, func(tx pgx.Tx) error {
		return e.Store.SetConditions(ctx, tx, store.SetConditionsParams{Ids: ids, Conditions: conditions})
	})
}

// keepSafely keeps a panic's value, which may hold anything, out of the job
// queue's table and log.
func keepSafely(ctx context.Context, d services.Driver, plans []json.RawMessage, instances []services.RawInstance) (found map[string]services.Condition, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the backend panicked with a %T at %s", p, debug.Stack())
		}
	}()
	return d.Keep(ctx, plans, instances)
}
