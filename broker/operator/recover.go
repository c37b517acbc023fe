package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Recovery brings back the instances of a server that has lost them.
type Recovery struct {
	// Server is the server's key. Filter selects among its instances; its Server is ignored.
	Server string
	Filter Filter
	// Onto is the key of another server of the same backend on which they are made; empty: the
	// same server, which answers and is empty.
	Onto string
	// Before restores backups made before this time; zero: the latest.
	Before time.Time
	// Empty recovers also instances that have no backup, without data.
	Empty bool
	// Overwrite recovers also instances that their server still has, whose data is lost.
	Overwrite bool
	// DryRun changes nothing.
	DryRun bool
	// AtOnce is how many instances are in progress at a time; 0: DefaultAtOnce.
	AtOnce int
}

// DefaultAtOnce is how many instances are recovered at a time.
const DefaultAtOnce = 4

// RecoveryOutcome is what became of an instance.
type RecoveryOutcome string

// The outcomes of recoveries.
const (
	InstanceRecovered RecoveryOutcome = "recovered"
	// InstanceUnchanged is an instance that its server still has.
	InstanceUnchanged RecoveryOutcome = "unchanged"
	InstanceFailed    RecoveryOutcome = "failed"
	// InstancePending is an instance that would be recovered, or whose recovery goes on without
	// the caller.
	InstancePending RecoveryOutcome = "pending"
)

// RecoveredInstance is the result for one instance.
type RecoveredInstance struct {
	InstanceID string          `json:"instance_id"`
	Service    string          `json:"service"`
	Plan       string          `json:"plan"`
	Server     string          `json:"server"`
	Outcome    RecoveryOutcome `json:"outcome"`
	// BackupID is the backup that it was restored from, made at BackedUpAt; empty: it came back
	// without data.
	BackupID   string     `json:"backup_id,omitempty"`
	BackedUpAt *time.Time `json:"backed_up_at,omitempty"`
	// Reason says why it was not recovered.
	Reason      string `json:"reason,omitempty"`
	OperationID string `json:"operation_id,omitempty"`
	// Bindings is how many bindings work again. Changed have other credentials than before,
	// and Refused could not be bound again, with the reason.
	Bindings int               `json:"bindings"`
	Changed  []string          `json:"changed_bindings,omitempty"`
	Refused  map[string]string `json:"refused_bindings,omitempty"`
}

// Complete says that nothing of the instance is left to do.
func (r RecoveredInstance) Complete() bool {
	return r.Outcome != InstanceFailed && len(r.Refused) == 0
}

// recovery is a Recovery under way.
type recovery struct {
	*Operator
	Recovery
	by       Actor
	from, to catalog.Server
	// present are the safe names of the instances that each server has, by its key.
	present map[string]map[string]bool
}

// Recover recovers the selected instances, and calls report with each, one at a time, as its
// recovery ends. Running brokers do the work: if ctx ends, what has begun goes on. It can be repeated
// at any time: instances that are back are unchanged.
func (o *Operator) Recover(ctx context.Context, by Actor, r Recovery, report func(RecoveredInstance)) error {
	run, err := o.newRecovery(ctx, by, r)
	if err != nil {
		return err
	}
	instances, err := run.selected(ctx)
	if err != nil {
		return err
	}
	free := make(chan struct{}, cmp.Or(max(r.AtOnce, 0), DefaultAtOnce))
	var all sync.WaitGroup
	var reporting sync.Mutex
	for _, i := range instances {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			defer func() { <-free }()
			result := run.one(ctx, i)
			reporting.Lock()
			defer reporting.Unlock()
			report(result)
		})
	}
	all.Wait()
	return ctx.Err()
}

func (o *Operator) newRecovery(ctx context.Context, by Actor, r Recovery) (*recovery, error) {
	run := &recovery{Operator: o, Recovery: r, by: by, present: map[string]map[string]bool{}}
	var err error
	if run.from, err = o.serverOf("server", r.Server); err != nil {
		return nil, err
	}
	run.to = run.from
	if r.Onto != "" {
		if run.to, err = o.serverOf("onto", r.Onto); err != nil {
			return nil, err
		}
		if run.to.Backend != run.from.Backend {
			return nil, &ArgumentError{"onto", fmt.Sprintf("%s is a server of another backend than %s; name one of the same backend, which the catalog lists", r.Onto, r.Server)}
		}
	}
	for _, s := range []catalog.Server{run.to, run.from} {
		if run.present[s.Key()] != nil {
			continue
		}
		found, err := o.instancesOn(ctx, s.Key())
		switch {
		case err == nil:
			run.present[s.Key()] = found
		case s.Key() == run.to.Key() && r.Onto == "":
			return nil, fmt.Errorf("server %s does not answer: start an empty one in its place, or name another server with --onto: %w", s.Key(), err)
		case s.Key() == run.to.Key():
			return nil, fmt.Errorf("server %s does not answer: %w", s.Key(), err)
		}
		// A server that does not answer has lost its instances: the operator says so.
	}
	return run, nil
}

// serverOf finds a server by its key in the catalog; name is the argument's.
func (o *Operator) serverOf(name, key string) (catalog.Server, error) {
	var keys []string
	for _, s := range o.Catalog.Servers() {
		if s.Key() == key {
			return s, nil
		}
		keys = append(keys, s.Key())
	}
	slices.Sort(keys)
	return catalog.Server{}, &ArgumentError{name, fmt.Sprintf("the catalog has no server %q; it has %v", key, keys)}
}

// listTime is how long a server may take to list what it has.
const listTime = 2 * time.Minute

// instancesOn returns the safe names of the instances of which a server has anything.
func (o *Operator) instancesOn(ctx context.Context, key string) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(ctx, listTime)
	defer cancel()
	d := o.Drivers[key]
	if d == nil {
		return nil, errors.New("it is not open")
	}
	if d.List == nil {
		return nil, errors.New("its backend cannot list what the server has")
	}
	resources, err := d.List(ctx, services.None{})
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, r := range resources {
		if r.Binding == "" {
			found[r.Instance] = true
		}
	}
	return found, nil
}

// selected are the instances of the lost server, and those that an earlier call moved to the new
// one and that are not back yet.
func (r *recovery) selected(ctx context.Context) ([]store.Instance, error) {
	f := r.Filter
	f.Server = r.from.Key()
	instances, err := r.byFilter(ctx, f)
	if err != nil || r.to.Key() == r.from.Key() {
		return instances, err
	}
	f.Server = r.to.Key()
	moved, err := r.byFilter(ctx, f)
	if err != nil {
		return nil, err
	}
	for _, i := range moved {
		op, err := r.last(ctx, i.ID)
		if err != nil {
			return nil, err
		}
		if op == nil || op.State == store.Succeeded {
			continue
		}
		if was, err := operation.RecoveredBy(*op); err == nil && was.From == r.from.Key() {
			instances = append(instances, i)
		}
	}
	return instances, nil
}

func (r *recovery) byFilter(ctx context.Context, f Filter) ([]store.Instance, error) {
	q, err := r.query(f, InstanceStatuses())
	if err != nil {
		return nil, err
	}
	instances, err := r.instances(ctx, q)
	if f.Instance != "" {
		instances = slices.DeleteFunc(instances, func(i store.Instance) bool { return i.ID != f.Instance })
	}
	return instances, err
}

// last returns the instance's last operation if it is a recovery; nil: it is not.
func (o *Operator) last(ctx context.Context, instanceID string) (*store.Operation, error) {
	op, err := o.Store.LastOperation(ctx, o.Store.Pool, store.LastOperationParams{InstanceID: instanceID})
	if store.NotFound(err) || err == nil && op.Kind != store.Recover {
		return nil, nil
	}
	return &op, err
}

// one recovers one instance and waits until that has ended.
func (r *recovery) one(ctx context.Context, i store.Instance) RecoveredInstance {
	row := r.newInstance(i)
	result := RecoveredInstance{InstanceID: i.ID, Service: row.Service, Plan: row.Plan, Server: r.to.Key(), Outcome: InstanceFailed}
	op, err := r.last(ctx, i.ID)
	switch {
	case err != nil:
		result.Reason = err.Error()
		return result
	case op != nil && op.State == store.InProgress: // of an earlier call
		return r.await(ctx, result, op.ID)
	case (op == nil || op.State == store.Succeeded) && !r.Overwrite:
		for _, s := range []catalog.Server{r.from, r.to} {
			if r.present[s.Key()][operation.SafeName(i)] {
				result.Outcome, result.Server = InstanceUnchanged, s.Key()
				result.Reason = fmt.Sprintf("server %s has it", s.Key())
				return result
			}
		}
	}
	b, err := r.choose(ctx, i)
	if err != nil {
		result.Reason = err.Error()
		return result
	}
	if b != nil {
		result.BackupID, result.BackedUpAt = b.ID, &b.CreatedAt
	}
	if r.DryRun {
		result.Outcome = InstancePending
		return result
	}
	accepted, err := r.accept(ctx, r.by, recoveryOf{i.ID, b, r.to, r.from.Key()})
	if err != nil {
		result.Reason = err.Error()
		return result
	}
	return r.await(ctx, result, accepted.ID)
}

// choose chooses the backup of an instance; nil: it is to come back without data.
func (r *recovery) choose(ctx context.Context, i store.Instance) (*store.Backup, error) {
	all, err := r.Store.BackupsOfResource(ctx, r.Store.Pool, operation.SafeName(i))
	if err != nil {
		return nil, err
	}
	held := false
	for _, b := range all {
		if b.Held { // lost with the server, which restores them only to new instances
			held = held || b.State == store.BackupReady
			continue
		}
		if b.State == store.BackupReady && b.Origin != store.ForClone && (r.Before.IsZero() || b.CreatedAt.Before(r.Before)) {
			return &b, nil
		}
	}
	switch {
	case r.Empty:
		return nil, nil
	case held:
		return nil, errors.New("its backups are held by its server; if that still has them, have its user create a new instance with restore_from")
	case !r.Before.IsZero():
		return nil, fmt.Errorf("it has no backup from before %s; with --empty it comes back without data", r.Before.UTC().Format(time.RFC3339))
	}
	return nil, errors.New("it has no backup: import those that the store has, or have it come back without data with --empty")
}
