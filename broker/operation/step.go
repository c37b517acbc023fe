package operation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
	"github.com/chandler-broker/chandler/services"
)

// subject is what an operation works on, as it was when the attempt began.
type subject struct {
	plan     *catalog.Plan
	driver   *services.Driver
	instance store.Instance
	binding  store.Binding   // of a bind or unbind
	bindings []store.Binding // of a deprovision, soft-delete or recovery: those of the instance
}

// result is the result of a step.
type result struct {
	err          error
	credentials  *services.Credentials // of a bind
	unreachable  string                // the part that does not answer, if that caused err
	rejected     bool                  // the user's input caused err
	description  string                // of err or of a recovery, for the user, if the operation ends
	interrupted  bool                  // the operation was cancelled meanwhile
	removed      []store.Binding       // of a deprovision or soft-delete: the revoked bindings
	moreBindings bool                  // of a deprovision or soft-delete: more bindings remain
	lockErr      error                 // the lock was lost; nothing may be recorded
}

// readBindings adds the bindings of an operation's subject to the batch. Once the batch is
// sent, the returned function makes the subject.
func (e *Engine) readBindings(ctx context.Context, b *store.Batch, j job) func(store.OperationAndInstanceRow) (*subject, error) {
	if j.BindingID != "" {
		one := store.Read(ctx, b, e.Store.Binding, j.BindingID)
		return func(row store.OperationAndInstanceRow) (*subject, error) {
			return &subject{instance: row.Instance, binding: one.Value}, one.Err
		}
	}
	all := store.Read(ctx, b, e.Store.BindingsOfInstance, j.InstanceID)
	return func(row store.OperationAndInstanceRow) (*subject, error) {
		s := &subject{instance: row.Instance}
		if kind := row.Operation.Kind; kind == store.Deprovision || kind == store.SoftDelete || kind == store.Recover {
			s.bindings = all.Value
		}
		return s, nil
	}
}

// step does one phase of the operation. It may be called any number of times.
func (e *Engine) step(ctx context.Context, op store.Operation, s *subject) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r.err = &services.PanicError{Type: fmt.Sprintf("%T", p), Stack: string(debug.Stack())}
		}
		if p, ok := errors.AsType[*services.PanicError](r.err); ok {
			e.Logger.ErrorContext(ctx, "backend panicked", "operation_id", op.ID, "instance_id", op.InstanceID, "panic_type", p.Type, "stack", p.Stack)
			r.err = errors.New("the backend panicked; the log has the stack")
		}
		r.unreachable = e.unreachablePart(ctx, s, r.err)
	}()
	var err error
	if s.plan, err = e.plan(s.instance.ServiceID, s.instance.PlanID); err != nil {
		return result{err: err}
	}
	if s.driver, err = e.driverOf(s.instance, s.plan); err != nil {
		return result{err: err}
	}
	defer e.reportHanging(ctx, op, s)()
	prev := RawInstance(s.instance, s.plan)
	switch op.Kind {
	case store.Provision:
		switch {
		case op.Phase == store.PhaseUndo:
			return result{err: e.undoProvision(ctx, op, s, prev)}
		case op.CopyID != "":
			return result{err: e.provisionCopy(ctx, op, s, prev)}
		}
		return result{err: e.provision(ctx, s, prev)}
	case store.Update:
		if op.CopyID != "" {
			return result{err: e.awaitBackup(ctx, op)}
		}
		return result{err: e.update(ctx, op, s, prev)}
	case store.Deprovision:
		if err := e.stopCopies(ctx, s); err != nil {
			return result{err: err}
		}
		r := e.unbindAll(ctx, s, prev)
		if r.err == nil && !r.moreBindings {
			r.err = e.deprovision(ctx, s.driver, prev)
		}
		return r
	case store.SoftDelete:
		if err := e.stopCopies(ctx, s); err != nil {
			return result{err: err}
		}
		return e.unbindAll(ctx, s, prev)
	case store.Bind:
		if op.Phase == store.PhaseUndo {
			return result{err: e.unbind(ctx, s.driver, prev, s.binding)}
		}
		credentials, err := e.bind(ctx, s.driver, prev, s.binding)
		return result{err: err, credentials: credentials}
	case store.Recover:
		if op.Phase == store.PhaseUndo {
			return result{err: e.undoRecovery(ctx, op, s, prev)}
		}
		return e.recover(ctx, op, s, prev)
	case store.Unbind, store.Expire:
		return result{err: e.unbind(ctx, s.driver, prev, s.binding)}
	default:
		return result{err: fmt.Errorf("unknown kind of operation %q", op.Kind)}
	}
}

// SafeName returns the name from which those of the instance's resources derive.
func SafeName(i store.Instance) string {
	return cmp.Or(i.ResourceName, services.InstanceName(i.ResourceKey()))
}

// RawInstance is the instance as backends see it.
func RawInstance(i store.Instance, p *catalog.Plan) services.RawInstance {
	return services.RawInstance{ID: i.ResourceKey(), Name: i.ResourceName, Plan: p.Config, Params: i.Parameters}
}

func (e *Engine) provision(ctx context.Context, s *subject, inst services.RawInstance) (err error) {
	return e.provisionFrom(ctx, s, inst, nil)
}

// provisionFrom provisions from a backup that the server holds, if it is not nil.
func (e *Engine) provisionFrom(ctx context.Context, s *subject, inst services.RawInstance, from *services.HeldBackup) (err error) {
	if inst.Directories, err = e.folders(ctx, s.driver, inst, s.instance, false); err != nil {
		return err
	}
	_, err = s.driver.Provision(ctx, services.RawProvision{Instance: inst, RestoreFrom: from})
	return err
}

func (e *Engine) update(ctx context.Context, op store.Operation, s *subject, prev services.RawInstance) error {
	next, err := e.updatedInstance(op, s.instance)
	if err != nil {
		return err
	}
	undoing := op.Phase == store.PhaseUndo
	if undoing {
		prev, next = next, prev
	}
	if next.Directories, err = e.folders(ctx, s.driver, next, s.instance, undoing); err != nil {
		return err
	}
	_, err = s.driver.Update(ctx, services.RawUpdate{Previous: prev, Instance: next, Operation: op.ID})
	return err
}

// updatedInstance is the instance as it is after the update.
func (e *Engine) updatedInstance(op store.Operation, i store.Instance) (services.RawInstance, error) {
	target, err := e.plan(op.ServiceID, op.PlanID)
	if err != nil {
		return services.RawInstance{}, err
	}
	i.Parameters = op.Parameters
	return RawInstance(i, target), nil
}

// seed is the value of a binding's SeedPath in the credential store.
type seed struct {
	Seed []byte `json:"seed"`
}

// VolumeMounts is the value of a binding's VolumeMountsPath in the credential store.
type VolumeMounts struct {
	VolumeMounts []services.VolumeMount `json:"volume_mounts"`
}

// bind stores the seed before it calls the backend, so that a bind repeated after a crash
// makes the same credential, and the credentials afterwards.
func (e *Engine) bind(ctx context.Context, d *services.Driver, inst services.RawInstance, b store.Binding) (_ *services.Credentials, err error) {
	value, err := json.Marshal(seed{services.RandomKey()})
	if err != nil {
		return nil, err
	}
	stored, err := e.Credentials.Ensure(ctx, credhub.SeedPath(b.InstanceID, b.ID), value)
	if err != nil {
		return nil, fmt.Errorf("store the seed: %w", err)
	}
	source, err := seedOf(stored)
	if err != nil {
		return nil, err
	}
	defer func() { err = scrub(source, err) }()
	bound, err := d.Bind(ctx, services.RawBind{Instance: inst, Binding: services.RawBinding{ID: b.ID, Params: b.Parameters, Seed: source}})
	if err != nil {
		return nil, err
	}
	c := bound.Credentials
	if err := e.storeCredentials(ctx, d, b, c); err != nil {
		return nil, err
	}
	return &c, e.deliver(ctx, b, c)
}

// storeCredentials stores the credentials and, of a volume, the mounts that the platform
// reads: both contain secrets.
func (e *Engine) storeCredentials(ctx context.Context, d *services.Driver, b store.Binding, c services.Credentials) error {
	type secret struct {
		path  credhub.Path
		value any
	}
	secrets := map[string]secret{"credentials": {credhub.CredentialsPath(b.InstanceID, b.ID), c.Values}}
	if d.VolumeMounts {
		secrets["volume mounts"] = secret{credhub.VolumeMountsPath(b.InstanceID, b.ID), VolumeMounts{c.VolumeMounts}}
	}
	return concurrently(secrets, func(what string, s secret) error {
		value, err := json.Marshal(s.value)
		if err != nil {
			return fmt.Errorf("encode the %s: %w", what, err)
		}
		if err := e.Credentials.Put(ctx, s.path, value); err != nil {
			return fmt.Errorf("store the %s: %w", what, err)
		}
		return nil
	})
}

// unbind deletes the secrets only after the backend has revoked them: until then, the store
// tells which credentials may still work.
func (e *Engine) unbind(ctx context.Context, d *services.Driver, inst services.RawInstance, b store.Binding) error {
	r := services.RawUnbind{Instance: inst, Binding: services.RawBinding{ID: b.ID, Params: b.Parameters}}
	if err := confirmed(ctx, func() error { _, err := d.Unbind(ctx, r); return err }); err != nil {
		return err
	}
	if err := e.withdraw(ctx, b); err != nil {
		return err
	}
	return e.deleteSecrets(ctx, b, d.VolumeMounts)
}

func (e *Engine) deprovision(ctx context.Context, d *services.Driver, inst services.RawInstance) error {
	return confirmed(ctx, func() error { _, err := d.Deprovision(ctx, services.RawDeprovision{Instance: inst}); return err })
}

const (
	// stalled is how long a removal takes only on a server that was busy or did not answer.
	stalled = 500 * time.Millisecond
	// catchUpTime is how long a server that answers again may take for what it had received.
	catchUpTime = 300 * time.Millisecond
)

// confirmed makes a removal, and repeats it once if the server stalled meanwhile: such a server
// may first answer the removal and then carry out an earlier write, whose client has given up or
// was killed. Some servers always take that long, so the repetition is final.
func confirmed(ctx context.Context, remove func() error) error {
	start := time.Now()
	if err := remove(); err != nil || time.Since(start) < stalled {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(catchUpTime):
	}
	return remove()
}

// bindingsPerStep is how many bindings one step revokes, so that it ends in time.
const bindingsPerStep = 20

// unbindAll revokes the bindings before their instance is deleted: those of a plan that
// cascades, and what failed binds and unbinds left.
func (e *Engine) unbindAll(ctx context.Context, s *subject, inst services.RawInstance) result {
	for i, b := range s.bindings {
		if i == bindingsPerStep {
			return result{removed: s.bindings[:i], moreBindings: true}
		}
		if err := e.unbind(ctx, s.driver, inst, b); err != nil {
			return result{removed: s.bindings[:i], err: fmt.Errorf("binding %s: %w", b.ID, err)}
		}
	}
	return result{removed: s.bindings}
}

// scrub removes the binding's secrets from an error's text. The error stays of the kinds
// that the engine distinguishes.
func scrub(source *services.Seed, err error) error {
	if err == nil {
		return nil
	}
	if message, ok := services.IsRejected(err); ok {
		return services.Rejected("%s", source.Scrub(message))
	}
	if n, ok := errors.AsType[*services.NotYetError](err); ok {
		return services.NotYet(n.After, source.Scrub(n.Note))
	}
	if p, ok := errors.AsType[*services.PanicError](err); ok {
		return p
	}
	scrubbed := errors.New(source.Scrub(err.Error()))
	switch {
	case services.IsOutOfCapacity(err):
		return services.OutOfCapacity(scrubbed)
	case isCredentialsError(err):
		return credentialsFailed(scrubbed)
	}
	return scrubbed
}

// boundDelay bounds the delay that a backend asks for.
func boundDelay(after time.Duration) time.Duration {
	return max(50*time.Millisecond, min(after, time.Minute))
}
