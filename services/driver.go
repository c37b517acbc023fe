package services

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// The requests as the broker has them: the plan decoded when the catalog was read, the
// user's parameters as the state keeps them.
type (
	// RawInstance is an instance before its parameters are decoded.
	RawInstance = Instance[Plan, json.RawMessage]
	// RawBinding is a binding before its parameters are decoded.
	RawBinding = Binding[json.RawMessage]

	RawProvision   = ProvisionRequest[Plan, json.RawMessage]
	RawUpdate      = UpdateRequest[Plan, json.RawMessage]
	RawDeprovision = DeprovisionRequest[Plan, json.RawMessage]
	RawBind        = BindRequest[Plan, json.RawMessage, json.RawMessage]
	RawUnbind      = UnbindRequest[Plan, json.RawMessage, json.RawMessage]
	RawVerify      = VerifyRequest[Plan, json.RawMessage, json.RawMessage]
	RawReconcile   = ReconcileRequest[Plan, json.RawMessage]
	RawAdopt       = AdoptRequest[Plan, json.RawMessage]
)

// Call is a function of a Driver.
type Call[Req, Res any] func(ctx context.Context, r Req) (Res, error)

// OrZero makes the call. If the backend does not implement it, the result is the zero
// value.
func (c Call[Req, Res]) OrZero(ctx context.Context, r Req) (result Res, err error) {
	if c == nil {
		return result, nil
	}
	return c(ctx, r)
}

// None is the request or the result of a call that has none.
type None struct{}

// Driver is an open Backend with its types erased: what the broker calls. The contract
// of each function is that of the backend's method. A panic of the backend becomes a
// *PanicError.
type Driver struct {
	Provision   Call[RawProvision, ProvisionResult]
	Update      Call[RawUpdate, UpdateResult]
	Deprovision Call[RawDeprovision, DeprovisionResult]
	Bind        Call[RawBind, BindResult]
	Unbind      Call[RawUnbind, UnbindResult]

	// CheckInstance, CheckUpdate and CheckBinding decode the parameters, and ask the
	// backend if it is an InstanceChecker or UpdateChecker. The user can fix what
	// their errors report.
	CheckInstance Call[RawInstance, None]
	CheckUpdate   Call[RawUpdate, None]
	CheckBinding  Call[json.RawMessage, None]

	Capabilities

	// SerialBinds is that of a SerialBinder.
	SerialBinds bool
	// VolumeMounts says that bindings come with volume mounts.
	VolumeMounts bool

	connection *connection
}

// Capabilities are a backend's optional methods. One that the backend does not
// implement is nil.
type Capabilities struct {
	Ready            Call[None, None]
	List             Call[None, []Resource]
	Reconcile        Call[RawReconcile, ReconcileResult]
	Verify           Call[RawVerify, VerifyResult]
	ResourceName     Call[RawInstance, string]
	Describe         Call[RawInstance, map[string]any]
	Adopt            Call[RawAdopt, AdoptResult]
	Directory        Call[RawInstance, string]
	MountedInstances Call[RawInstance, []string]
	Footprint        Call[Plan, Space]
	Capacity         Call[None, Capacity]
}

// newDriver collects what a backend can do.
func newDriver[P, I, B any](c *connection, volumeMounts bool) *Driver {
	var d decoder[P, I, B]
	serial, ok := c.current.backend.(SerialBinder)
	return &Driver{
		Provision:     remote(c, "provision", Backend[P, I, B].Provision, d.provision),
		Update:        remote(c, "update", Backend[P, I, B].Update, d.update),
		Deprovision:   remote(c, "deprovision", Backend[P, I, B].Deprovision, d.deprovision),
		Bind:          remote(c, "bind", Backend[P, I, B].Bind, d.bind),
		Unbind:        remote(c, "unbind", Backend[P, I, B].Unbind, d.unbind),
		CheckInstance: local(c, "check instance", checkInstance[P, I, B], d.instance),
		CheckUpdate:   local(c, "check update", checkUpdate[P, I, B], d.update),
		CheckBinding:  local(c, "check binding", checkBinding[P, I, B], d.bindingParams),
		Capabilities: Capabilities{
			Ready:            remote(c, "ready", ready, same[None]),
			List:             remote(c, "list", list, same[None]),
			Reconcile:        remote(c, "reconcile", Reconciler[P, I].Reconcile, d.reconcile),
			Verify:           remote(c, "verify", Verifier[P, I, B].Verify, d.verify),
			ResourceName:     local(c, "resource name", resourceName[P, I], d.lenientInstance),
			Describe:         remote(c, "describe", Describer[P, I].Describe, d.instance),
			Adopt:            remote(c, "adopt", Adopter[P, I].Adopt, d.adopt),
			Directory:        remote(c, "directory", DirectoryProvider[P, I].Directory, d.instance),
			MountedInstances: local(c, "mounted instances", mountedInstances[P, I], d.instance),
			Footprint:        local(c, "footprint", footprint[P], d.plan),
			Capacity:         remote(c, "capacity", capacity, same[None]),
		},
		SerialBinds:  ok && serial.SerialBinds(),
		VolumeMounts: volumeMounts,
		connection:   c,
	}
}

// The methods of other shapes than method(ctx, request) (result, error).

func checkInstance[P, I, B any](b Backend[P, I, B], inst Instance[P, I]) (none None, err error) {
	if c, ok := b.(InstanceChecker[P, I]); ok {
		err = c.CheckInstance(inst)
	}
	return none, err
}

func checkUpdate[P, I, B any](b Backend[P, I, B], r UpdateRequest[P, I]) (none None, err error) {
	if c, ok := b.(UpdateChecker[P, I]); ok {
		err = c.CheckUpdate(r)
	}
	return none, err
}

func checkBinding[P, I, B any](Backend[P, I, B], B) (none None, err error) { return none, nil }

func ready(r Readier, ctx context.Context, none None) (None, error) { return none, r.Ready(ctx) }

func list(l Lister, ctx context.Context, _ None) ([]Resource, error) { return l.List(ctx) }

func capacity(c CapacityReporter, ctx context.Context, _ None) (Capacity, error) {
	return c.Capacity(ctx)
}

func resourceName[P, I any](n Namer[P, I], inst Instance[P, I]) (string, error) {
	return n.ResourceName(inst), nil
}

func mountedInstances[P, I any](m Mounter[I], inst Instance[P, I]) ([]string, error) {
	return m.MountedInstances(inst.Params), nil
}

func footprint[P any](f FootprintReporter[P], p P) (Space, error) { return f.Footprint(p), nil }

// CheckReady returns nil when the server would accept work now, and when the backend
// cannot tell.
func (d *Driver) CheckReady(ctx context.Context) error {
	_, err := d.Ready.OrZero(ctx, None{})
	return err
}

// Remove deprovisions or unbinds what List returned and no instance owns, by its names
// alone.
func (d *Driver) Remove(ctx context.Context, r Resource) error {
	inst := RawInstance{Name: r.Instance}
	if r.Binding == "" {
		_, err := d.Deprovision(ctx, RawDeprovision{inst})
		return err
	}
	_, err := d.Unbind(ctx, RawUnbind{inst, RawBinding{Name: r.Binding}})
	return err
}

// decoder decodes requests for a backend.
type decoder[P, I, B any] struct{}

func same[T any](r T) (T, error) { return r, nil }

func (decoder[P, I, B]) plan(p Plan) (P, error) {
	decoded, ok := p.value.(P)
	if !ok {
		return decoded, fmt.Errorf("the plan is not one of this backend")
	}
	return decoded, nil
}

func (d decoder[P, I, B]) instance(raw RawInstance) (inst Instance[P, I], err error) {
	inst = Instance[P, I]{ID: raw.ID, Name: raw.Name, Directories: raw.Directories}
	if inst.Name == "" && inst.ID != "" {
		inst.Name = InstanceName(inst.ID)
	}
	if inst.Plan, err = d.plan(raw.Plan); err != nil {
		return inst, err
	}
	if inst.Params, err = Decode[I](raw.Params); err != nil {
		return inst, Rejected("parameters: %s", err)
	}
	return inst, nil
}

// lenientInstance is for what has to work although today's rules no longer allow the
// plan or the parameters, such as a removal: these are decoded as far as they can be.
func (d decoder[P, I, B]) lenientInstance(raw RawInstance) (Instance[P, I], error) {
	inst, _ := d.instance(raw)
	return inst, nil
}

func (d decoder[P, I, B]) binding(inst RawInstance, raw RawBinding) (b Binding[B], err error) {
	b = Binding[B]{ID: raw.ID, Name: raw.Name, Seed: raw.Seed}
	if b.Name == "" {
		b.Name = BindingName(inst.ID, raw.ID)
	}
	b.Params, err = d.bindingParams(raw.Params)
	return b, err
}

func (decoder[P, I, B]) bindingParams(raw json.RawMessage) (B, error) {
	params, err := Decode[B](raw)
	if err != nil {
		return params, Rejected("parameters: %s", err)
	}
	return params, nil
}

func (d decoder[P, I, B]) bound(rawInstance RawInstance, rawBinding RawBinding) (Instance[P, I], Binding[B], error) {
	inst, err := d.instance(rawInstance)
	if err != nil {
		return inst, Binding[B]{}, err
	}
	b, err := d.binding(rawInstance, rawBinding)
	return inst, b, err
}

func (d decoder[P, I, B]) provision(r RawProvision) (ProvisionRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return ProvisionRequest[P, I]{inst}, err
}

func (d decoder[P, I, B]) update(r RawUpdate) (UpdateRequest[P, I], error) {
	prev, err := d.instance(r.Previous)
	if err != nil {
		return UpdateRequest[P, I]{}, err
	}
	next, err := d.instance(r.Instance)
	return UpdateRequest[P, I]{prev, next}, err
}

func (d decoder[P, I, B]) deprovision(r RawDeprovision) (DeprovisionRequest[P, I], error) {
	inst, err := d.lenientInstance(r.Instance)
	return DeprovisionRequest[P, I]{inst}, err
}

func (d decoder[P, I, B]) bind(r RawBind) (BindRequest[P, I, B], error) {
	inst, b, err := d.bound(r.Instance, r.Binding)
	return BindRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) unbind(r RawUnbind) (UnbindRequest[P, I, B], error) {
	inst, err := d.lenientInstance(r.Instance)
	b, _ := d.binding(r.Instance, r.Binding)
	return UnbindRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) verify(r RawVerify) (VerifyRequest[P, I, B], error) {
	inst, b, err := d.bound(r.Instance, r.Binding)
	return VerifyRequest[P, I, B]{inst, b}, err
}

func (d decoder[P, I, B]) adopt(r RawAdopt) (AdoptRequest[P, I], error) {
	inst, err := d.instance(r.Instance)
	return AdoptRequest[P, I]{inst, r.Resource, r.DryRun}, err
}

func (d decoder[P, I, B]) reconcile(r RawReconcile) (ReconcileRequest[P, I], error) {
	plans, instances := make([]P, 0, len(r.Plans)), make([]Instance[P, I], 0, len(r.Instances))
	for _, raw := range r.Plans {
		p, err := d.plan(raw)
		if err != nil {
			return ReconcileRequest[P, I]{}, err
		}
		plans = append(plans, p)
	}
	for _, raw := range r.Instances {
		// One that today's rules no longer allow must not stop the others from being
		// reconciled. Its next operation reports what is wrong.
		if inst, err := d.instance(raw); err == nil {
			instances = append(instances, inst)
		}
	}
	return ReconcileRequest[P, I]{plans, instances}, nil
}

// jsonKeys returns the JSON names of T's fields.
func jsonKeys[T any]() []string {
	t := reflect.TypeFor[T]()
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			keys = append(keys, name)
		}
	}
	return keys
}
