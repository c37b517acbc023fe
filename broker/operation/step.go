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

// subject is what an operation works on, as it was when the turn began.
type subject struct {
	plan     *catalog.Plan
	driver   *services.Driver
	instance store.Instance
	binding  store.Binding   // of a bind or unbind
	bindings []store.Binding // of a deprovision or retire: what goes with the instance
}

// result is what came of a step.
type result struct {
	err          error
	credentials  *services.Credentials // of a bind
	unreachable  string                // the part that does not answer, where that is err's cause
	rejected     bool                  // the user's input caused err
	description  string                // for the user, where it ends with err
	interrupted  bool                  // the operation was cancelled meanwhile
	removed      []store.Binding       // of a deprovision or retire: the bindings that are gone
	moreBindings bool                  // of a deprovision or retire: there are bindings yet
	lockErr      error                 // the lock is gone; nothing may be recorded
}

// readBindings adds to the batch what an operation's subject is made of beside its
// instance. The function that it returns makes the subject, once the batch is sent.
func (e *Engine) readBindings(ctx context.Context, b *store.Batch, j job) func(store.OperationAndInstanceRow) (*subject, error) {
	if j.BindingID != "" {
		one := store.Read(b, func(db store.DBTX) (store.Binding, error) { return e.Store.Binding(ctx, db, j.BindingID) })
		return func(row store.OperationAndInstanceRow) (*subject, error) {
			return &subject{instance: row.Instance, binding: one.Value}, one.Err
		}
	}
	all := store.Read(b, func(db store.DBTX) ([]store.Binding, error) { return e.Store.BindingsOfInstance(ctx, db, j.InstanceID) })
	return func(row store.OperationAndInstanceRow) (*subject, error) {
		s := &subject{instance: row.Instance}
		if kind := row.Operation.Kind; kind == store.Deprovision || kind == store.SoftDelete {
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
		if op.Phase == store.PhaseUndo {
			_, err := s.driver.Deprovision(ctx, services.RawDeprovision{Instance: prev})
			return result{err: err}
		}
		if prev.Directories, err = e.folders(ctx, s.driver, prev, s.instance, false); err != nil {
			return result{err: err}
		}
		_, err := s.driver.Provision(ctx, services.RawProvision{Instance: prev})
		return result{err: err}
	case store.Update:
		return result{err: e.update(ctx, op, s, prev)}
	case store.Deprovision:
		r := e.unbindAll(ctx, s, prev)
		if r.err == nil && !r.moreBindings {
			_, r.err = s.driver.Deprovision(ctx, services.RawDeprovision{Instance: prev})
		}
		return r
	case store.SoftDelete:
		return e.unbindAll(ctx, s, prev)
	case store.Bind:
		if op.Phase == store.PhaseUndo {
			return result{err: e.unbind(ctx, s.driver, prev, s.binding)}
		}
		credentials, err := e.bind(ctx, s.driver, prev, s.binding)
		return result{err: err, credentials: credentials}
	case store.Unbind, store.Expire:
		return result{err: e.unbind(ctx, s.driver, prev, s.binding)}
	}
	return result{err: fmt.Errorf("unknown kind of operation %q", op.Kind)}
}

// SafeName is what the names of the instance's resources derive from.
func SafeName(i store.Instance) string {
	return cmp.Or(i.ResourceName, services.InstanceName(i.ResourceKey()))
}

// RawInstance is the instance as backends are told of it.
func RawInstance(i store.Instance, p *catalog.Plan) services.RawInstance {
	return services.RawInstance{ID: i.ResourceKey(), Name: i.ResourceName, Plan: p.Config, Params: i.Parameters}
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
	_, err = s.driver.Update(ctx, services.RawUpdate{Previous: prev, Instance: next})
	return err
}

// updatedInstance is the instance as the update wants it.
func (e *Engine) updatedInstance(op store.Operation, i store.Instance) (services.RawInstance, error) {
	target, err := e.plan(op.ServiceID, op.PlanID)
	if err != nil {
		return services.RawInstance{}, err
	}
	i.Parameters = op.Parameters
	return RawInstance(i, target), nil
}

// seed is what the credential store keeps under a binding's SeedPath.
type seed struct {
	Seed []byte `json:"seed"`
}

// VolumeMounts is what the credential store keeps under a binding's
// VolumeMountsPath.
type VolumeMounts struct {
	VolumeMounts []services.VolumeMount `json:"volume_mounts"`
}

// bind stores the seed before the backend is touched, so that whatever the
// backend makes is derived from something that outlives a crash, and the
// credentials after, so that they are there once the operation succeeded.
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

// storeCredentials stores what the application and, of a volume, the platform
// read: both hold secrets.
func (e *Engine) storeCredentials(ctx context.Context, d *services.Driver, b store.Binding, c services.Credentials) error {
	type secret struct {
		path  credhub.Path
		value any
	}
	secrets := map[string]secret{"credentials": {credhub.CredentialsPath(b.InstanceID, b.ID), c.Values}}
	if d.VolumeMounts {
		secrets["volume mounts"] = secret{credhub.VolumeMountsPath(b.InstanceID, b.ID), VolumeMounts{c.VolumeMounts}}
	}
	return sideBySide(secrets, func(what string, s secret) error {
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

// unbind forgets the secrets only after the backend has revoked them: until
// then the store is the proof of what may be out there.
func (e *Engine) unbind(ctx context.Context, d *services.Driver, inst services.RawInstance, b store.Binding) error {
	if _, err := d.Unbind(ctx, services.RawUnbind{Instance: inst, Binding: services.RawBinding{ID: b.ID, Params: b.Parameters}}); err != nil {
		return err
	}
	if err := e.withdraw(ctx, b); err != nil {
		return err
	}
	return e.deleteSecrets(ctx, b, d.VolumeMounts)
}

// bindingsPerStep is how many bindings one step takes, so that any number of them ends.
const bindingsPerStep = 20

// unbindAll takes the bindings before their instance goes: those of a plan that
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

// scrub takes the binding's secrets out of an error's text and keeps its kind,
// where that means something to the engine.
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

// boundDelay bounds what a backend may ask for.
func boundDelay(after time.Duration) time.Duration {
	return max(50*time.Millisecond, min(after, time.Minute))
}
