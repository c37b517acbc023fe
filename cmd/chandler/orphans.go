package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// orphan is a disagreement between a backend and the state.
type orphan struct {
	Backend string `json:"backend"`
	// Kind is "orphan" for what a backend holds and the state does not, "missing"
	// for the reverse, and "incomplete" for an instance of which only a part is left.
	Kind string `json:"kind"`
	// Resource is the name on the backend's server: of an orphan, of what is left
	// of an incomplete instance, or where it can be told of what is missing.
	Resource string `json:"resource,omitempty"`
	// InstanceID and BindingID are the platform's; of an orphan they are not known.
	InstanceID string `json:"instance_id,omitempty"`
	BindingID  string `json:"binding_id,omitempty"`
	// Advice is what the operator can do.
	Advice string `json:"advice"`

	found services.Resource
}

func newOrphans() *cobra.Command {
	var flags operatorFlags
	var remove bool
	cmd := flags.verb("orphans", "Compare what the backends hold with the state, and clean up", cobra.NoArgs, openOptions{},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			rows, silent, err := a.orphans(ctx)
			if err != nil {
				return err
			}
			if err := printOrphans(w, flags.output, rows); err != nil {
				return err
			}
			if remove {
				return errors.Join(a.removeOrphans(ctx, rows), silent)
			}
			if len(rows) > 0 {
				err = fmt.Errorf("%d difference(s); the last column says what to do about each", len(rows))
			}
			return errors.Join(err, silent)
		})
	cmd.Long = `Orphans lists what the backends hold and the state does not (orphan), what the state
holds and the backends do not (missing), and instances of which the backend has only a
part (incomplete), and what to do about each. Without --remove it changes nothing. It
exits with 1 when there is any difference. It may run beside a working broker.

After the state was restored from a backup, instances that were created since are orphans:
adopt those whose data is needed before you run --remove, which deletes the others.`
	cmd.Flags().BoolVar(&remove, "remove", false, "delete the orphans, data included; the audit record notes each")
	return cmd
}

func printOrphans(w io.Writer, o output, rows []orphan) error {
	return printRows(w, o, rows, []string{"BACKEND", "KIND", "RESOURCE", "INSTANCE", "BINDING", "WHAT TO DO"}, func(r orphan) []string {
		return []string{r.Backend, r.Kind, r.Resource, r.InstanceID, r.BindingID, r.Advice}
	})
}

// orphans looks at backends and state twice, because a broker may work
// meanwhile: what both looks agree on is true. Of servers that do not answer
// nothing is said but that, in silent.
func (a *app) orphans(ctx context.Context) (rows []orphan, silent, err error) {
	first, silent, err := a.lookForOrphans(ctx)
	if err != nil || len(first) == 0 {
		return nil, silent, err
	}
	second, later, err := a.lookForOrphans(ctx)
	if err != nil {
		return nil, nil, err
	}
	if silent == nil {
		silent = later
	}
	again := map[orphan]bool{}
	for _, o := range second {
		again[o] = true
	}
	for _, o := range first {
		if again[o] {
			rows = append(rows, o)
		}
	}
	return rows, silent, nil
}

func (a *app) lookForOrphans(ctx context.Context) (rows []orphan, silent, err error) {
	known, err := a.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, s := range a.catalog.Servers() {
		found, ok, err := a.drivers[s.Key()].List(ctx)
		if err != nil {
			silent = errors.Join(silent, fmt.Errorf("ask backend %s what it holds: %w", s.Key(), err))
		} else if ok {
			rows = append(rows, known[s.Key()].compare(s.Key(), found)...)
		}
	}
	// What was accepted while the backends were asked is no orphan.
	after, err := a.known(ctx)
	if err != nil {
		return nil, nil, err
	}
	kept := rows[:0]
	for _, o := range rows {
		if o.Kind != "orphan" || !owned(after, o.found) {
			kept = append(kept, o)
		}
	}
	return kept, silent, nil
}

// owned asks for all backends: two of them may be on one server, and each lists
// what is the other's too.
func owned(known map[string]*knowledge, f services.Resource) bool {
	for _, k := range known {
		if k.owns(f) {
			return true
		}
	}
	return false
}

// knowledge is what the state knows of one backend, by safe names.
type knowledge struct {
	instances map[string]string // name → ID
	bindings  map[string][2]string
	// settled are the names of what has to be there: ready, nothing in
	// progress.
	settled map[string]bool
	// resources are what the server calls the instances, where that can be told.
	resources map[string]string
}

func (k *knowledge) owns(f services.Resource) bool {
	if f.Binding != "" {
		_, ok := k.bindings[f.Binding]
		return ok
	}
	_, ok := k.instances[f.Instance]
	return ok
}

func adviceOnOrphan(f services.Resource) string {
	if f.Leftover {
		return "what is left of something deleted, without access to anything: --remove deletes it, or says what it waits for"
	}
	if f.Binding != "" {
		return "a login that no binding knows: --remove revokes it"
	}
	return fmt.Sprintf("keep its data: chandler instances adopt NEW-ID --resource %s; or --remove deletes it", f.Name)
}

// compare returns the differences between a server and the state.
func (k *knowledge) compare(backend string, found []services.Resource) []orphan {
	var rows []orphan
	seen := map[string]services.Resource{}
	for _, f := range found {
		seen[cmp.Or(f.Binding, f.Instance)] = f
		if !k.owns(f) {
			rows = append(rows, orphan{Backend: backend, Kind: "orphan", Resource: f.Name, Advice: adviceOnOrphan(f), found: f})
		}
	}
	for name, id := range k.instances {
		f, there := seen[name]
		whole := k.resources[name]
		switch {
		case !k.settled[name] || there && (whole == "" || f.Name == whole):
		case there:
			rows = append(rows, orphan{Backend: backend, Kind: "incomplete", Resource: f.Name, InstanceID: id, Advice: fmt.Sprintf(
				"%s is gone, and only this is left: restore it on the server from a backup, or have the platform delete the instance", whole)})
		default:
			rows = append(rows, orphan{Backend: backend, Kind: "missing", Resource: whole, InstanceID: id, Advice: fmt.Sprintf(
				"restore it on the server from a backup; if it is gone for good, have the platform delete it or: chandler instances forget %s --force", id)})
		}
	}
	for name, ids := range k.bindings {
		if _, there := seen[name]; k.settled[name] && !there {
			rows = append(rows, orphan{Backend: backend, Kind: "missing", InstanceID: ids[0], BindingID: ids[1], Advice: fmt.Sprintf(
				"its instance is not affected; have the platform unbind it, or: chandler bindings forget %s --force", ids[1])})
		}
	}
	return rows
}

// known reads the state, by the servers' keys in the catalog.
func (a *app) known(ctx context.Context) (map[string]*knowledge, error) {
	all := map[string]*knowledge{}
	for _, s := range a.catalog.Servers() {
		all[s.Key()] = &knowledge{instances: map[string]string{}, bindings: map[string][2]string{}, settled: map[string]bool{}, resources: map[string]string{}}
	}
	busy, err := a.busy(ctx)
	if err != nil {
		return nil, err
	}
	instances, err := a.instances(ctx, filter{})
	if err != nil {
		return nil, err
	}
	backendOf, resourceOf := map[string]string{}, map[string]string{}
	for _, i := range instances {
		plan, ok := a.catalog.Plan(i.ServiceID, i.PlanID)
		if !ok {
			continue // the check against the state at opening has refused this
		}
		key := catalog.ServerKey(plan.Backend, i.Server)
		k, ok := all[key]
		if !ok {
			continue // a replica with a newer catalog has just placed it
		}
		backendOf[i.ID], resourceOf[i.ID] = key, i.Resource()
		name := operation.SafeName(i)
		k.instances[name] = i.ID
		k.resources[name] = a.resourceName(i, plan)
		k.settled[name] = i.Status == store.Ready && !busy[i.ID]
	}
	bindings, err := a.bindings(ctx, filter{})
	if err != nil {
		return nil, err
	}
	for _, b := range bindings {
		k, ok := all[backendOf[b.InstanceID]]
		if !ok {
			continue // its instance was deleted in between
		}
		name := services.BindingName(resourceOf[b.InstanceID], b.ID)
		k.bindings[name] = [2]string{b.InstanceID, b.ID}
		k.settled[name] = b.Status == store.Ready && !busy[b.InstanceID] && !busy[b.ID]
	}
	return all, nil
}

// busy are the IDs of instances and bindings that something is in progress on.
func (a *app) busy(ctx context.Context) (map[string]bool, error) {
	operations, err := a.operations(ctx, filter{status: store.InProgress})
	if err != nil {
		return nil, err
	}
	busy := map[string]bool{}
	for _, op := range operations {
		if op.BindingID != "" {
			busy[op.BindingID] = true
		} else {
			busy[op.InstanceID] = true
		}
	}
	return busy, nil
}

// removeOrphans removes bindings before instances, and goes on after a failure.
func (a *app) removeOrphans(ctx context.Context, rows []orphan) error {
	var errs []error
	for _, bindings := range []bool{true, false} {
		for _, o := range rows {
			if o.Kind != "orphan" || (o.found.Binding != "") != bindings {
				continue
			}
			if err := a.auditRemoval(ctx, o, store.Accepted); err != nil {
				return errors.Join(append(errs, err)...)
			}
			event := store.Succeeded
			if err := a.removeOrphan(ctx, o); err != nil {
				event = store.Failed
				errs = append(errs, fmt.Errorf("remove %s from backend %s: %w", o.Resource, o.Backend, err))
			}
			errs = append(errs, a.auditRemoval(ctx, o, event))
		}
	}
	return errors.Join(errs...)
}

// removeOrphan looks once more, and lets nobody create anything of the orphan's
// name until it is gone: a platform may use a forgotten ID again at this moment, and
// must not lose what it has just been given. Everything else goes on.
func (a *app) removeOrphan(ctx context.Context, o orphan) error {
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	return a.store.InTx(ctx, func(tx pgx.Tx) error {
		if err := a.store.LockOrphan(ctx, tx, cmp.Or(o.found.Binding, o.found.Instance)); err != nil {
			return fmt.Errorf("lock its name: %w", err)
		}
		known, err := a.known(ctx)
		if err != nil {
			return err
		}
		if owned(known, o.found) {
			return errors.New("not removed: it has an owner by now")
		}
		return store.Outside(ctx, tx, func(ctx context.Context) error { return a.drivers[o.Backend].Remove(ctx, o.found) })
	})
}

// auditRemoval records that an operator removes an orphan, and the result.
func (a *app) auditRemoval(ctx context.Context, o orphan, event string) error {
	err := a.store.InsertAudit(ctx, a.store.Pool, store.InsertAuditParams{
		Originating: operatorIdentity(), Action: "remove", Event: event, Resource: o.Resource + " on " + o.Backend,
	})
	if err != nil {
		return fmt.Errorf("record the removal of %s from backend %s in the audit record: %w", o.Resource, o.Backend, err)
	}
	return nil
}

// removeTime is how long one orphan may take to remove, and with it how long a
// platform that uses its ID again may have to wait.
const removeTime = 30 * time.Second
