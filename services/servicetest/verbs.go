package servicetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Verbs calls a backend's methods with what they need, for tests.
type Verbs[P, I, B any] struct {
	provision   services.Call[services.ProvisionRequest[P, I], services.ProvisionResult]
	update      services.Call[services.UpdateRequest[P, I], services.UpdateResult]
	deprovision services.Call[services.DeprovisionRequest[P, I], services.DeprovisionResult]
	bind        services.Call[services.BindRequest[P, I, B], services.BindResult]
	unbind      services.Call[services.UnbindRequest[P, I, B], services.UnbindResult]
	verify      services.Call[services.VerifyRequest[P, I, B], services.VerifyResult]
	reconcile   services.Call[services.ReconcileRequest[P, I], services.ReconcileResult]

	call func(context.Context, func(context.Context) error) error
}

// Once calls each method once.
func Once[P, I, B any](b services.Backend[P, I, B]) Verbs[P, I, B] {
	v := Verbs[P, I, B]{
		provision: b.Provision, update: b.Update, deprovision: b.Deprovision, bind: b.Bind, unbind: b.Unbind,
		call: func(ctx context.Context, verb func(context.Context) error) error { return verb(ctx) },
	}
	if o, ok := b.(services.Verifier[P, I, B]); ok {
		v.verify = o.Verify
	}
	if o, ok := b.(services.Reconciler[P, I]); ok {
		v.reconcile = o.Reconcile
	}
	return v
}

// Patient calls each method as the engine does: ToTheEnd.
func Patient[P, I, B any](b services.Backend[P, I, B]) Verbs[P, I, B] {
	v := Once(b)
	v.call = ToTheEnd
	return v
}

// Provision calls Provision.
func (v Verbs[P, I, B]) Provision(ctx context.Context, inst services.Instance[P, I]) error {
	_, err := perform(ctx, v.call, v.provision, services.ProvisionRequest[P, I]{Instance: inst})
	return err
}

// operation identifies all updates of the suite.
const operation = "operation"

// Update calls Update.
func (v Verbs[P, I, B]) Update(ctx context.Context, prev, next services.Instance[P, I]) error {
	_, err := perform(ctx, v.call, v.update, services.UpdateRequest[P, I]{Previous: prev, Instance: next, Operation: operation})
	return err
}

// Deprovision calls Deprovision.
func (v Verbs[P, I, B]) Deprovision(ctx context.Context, inst services.Instance[P, I]) error {
	_, err := perform(ctx, v.call, v.deprovision, services.DeprovisionRequest[P, I]{Instance: inst})
	return err
}

// Bind calls Bind.
func (v Verbs[P, I, B]) Bind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) (services.Credentials, error) {
	result, err := perform(ctx, v.call, v.bind, services.BindRequest[P, I, B]{Instance: inst, Binding: b})
	return result.Credentials, err
}

// Unbind calls Unbind.
func (v Verbs[P, I, B]) Unbind(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) error {
	_, err := perform(ctx, v.call, v.unbind, services.UnbindRequest[P, I, B]{Instance: inst, Binding: b})
	return err
}

// Verify calls Verify.
func (v Verbs[P, I, B]) Verify(ctx context.Context, inst services.Instance[P, I], b services.Binding[B]) error {
	_, err := perform(ctx, v.call, v.verify, services.VerifyRequest[P, I, B]{Instance: inst, Binding: b})
	return err
}

// Reconcile calls Reconcile. It returns the conditions by Instance.ID and everything
// that went wrong.
func (v Verbs[P, I, B]) Reconcile(ctx context.Context, plans []P, instances []services.Instance[P, I]) (map[string]services.Condition, error) {
	result, err := perform(ctx, v.call, v.reconcile, services.ReconcileRequest[P, I]{Plans: plans, Instances: instances})
	conditions, faults := map[string]services.Condition{}, []error{err}
	for id, r := range result.Instances {
		faults = append(faults, r.Err)
		if r.Condition.Message != "" {
			conditions[id] = r.Condition
		}
	}
	return conditions, errors.Join(faults...)
}

// perform makes a call in the manner of around.
func perform[Req, Res any](
	ctx context.Context, around func(context.Context, func(context.Context) error) error, call services.Call[Req, Res], r Req,
) (result Res, err error) {
	err = around(ctx, func(ctx context.Context) error {
		result, err = call(ctx, r)
		return err
	})
	return result, err
}

// Driver is an open backend as the broker has it, for tests.
type Driver struct {
	Verbs[services.Plan, json.RawMessage, json.RawMessage]
	// Functions are all of the driver's.
	Functions  *services.Driver
	definition services.Definition
}

// Open decodes the configuration and opens the backend.
func Open(ctx context.Context, d services.Definition, config json.RawMessage) (*Driver, error) {
	decoded, err := d.DecodeConfig(config)
	if err != nil {
		return nil, err
	}
	f, err := d.Open(ctx, decoded)
	if err != nil {
		return nil, err
	}
	return &Driver{
		Verbs: Verbs[services.Plan, json.RawMessage, json.RawMessage]{
			provision: f.Provision, update: f.Update, deprovision: f.Deprovision, bind: f.Bind, unbind: f.Unbind,
			verify: f.Verify, reconcile: f.Reconcile,
			call: func(ctx context.Context, verb func(context.Context) error) error { return verb(ctx) },
		},
		Functions: f, definition: d,
	}, nil
}

// Close closes the backend.
func (d *Driver) Close() error { return d.Functions.Close() }

// Ready returns nil when the server would accept work now.
func (d *Driver) Ready(ctx context.Context) error { return d.Functions.CheckReady(ctx) }

// Plan decodes a plan. It panics if the plan is wrong.
func (d *Driver) Plan(raw json.RawMessage) services.Plan {
	p, err := d.definition.DecodePlan(raw)
	if err != nil {
		panic(err)
	}
	return p
}

// Instance describes an instance of the plan, which is not decoded yet.
func (d *Driver) Instance(id string, plan, params json.RawMessage) services.RawInstance {
	return services.RawInstance{ID: id, Plan: d.Plan(plan), Params: params}
}

// CheckInstance checks the parameters of a new instance.
func (d *Driver) CheckInstance(inst services.RawInstance) error {
	_, err := d.Functions.CheckInstance(context.Background(), inst)
	return err
}

// CheckUpdate checks an update.
func (d *Driver) CheckUpdate(prev, next services.RawInstance) error {
	_, err := d.Functions.CheckUpdate(context.Background(), services.RawUpdate{Previous: prev, Instance: next})
	return err
}

// CheckBinding checks the parameters of a new binding.
func (d *Driver) CheckBinding(params json.RawMessage) error {
	_, err := d.Functions.CheckBinding(context.Background(), params)
	return err
}

// ToTheEnd repeats a verb while the backend returns NotYet, like the engine, until ctx
// ends.
func ToTheEnd(ctx context.Context, verb func(context.Context) error) error {
	for {
		err := verb(ctx)
		notYet, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still not done: %w", err)
		case <-time.After(notYet.After):
		}
	}
}
