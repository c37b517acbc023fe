package services

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
)

// RawInstance is an instance before its plan and parameters are decoded.
type RawInstance struct {
	ID string
	// Name is the safe name of a resource that was made under an ID that nobody
	// knows any more; empty: it derives from ID.
	Name   string
	Plan   json.RawMessage
	Params json.RawMessage
	// Directories are as in Instance.
	Directories map[string]string
}

// RawBinding is a binding before its parameters are decoded. Seed is nil for
// Unbind.
type RawBinding struct {
	ID     string
	Params json.RawMessage
	Seed   *Seed
}

// Driver is a Backend with its types erased; it is what the engine calls. The
// contract of every method is Backend's. A method of an optional interface that
// the backend has not does nothing.
type Driver interface {
	Provision(ctx context.Context, inst RawInstance) error
	Update(ctx context.Context, prev, next RawInstance) error
	Deprovision(ctx context.Context, inst RawInstance) error
	Bind(ctx context.Context, inst RawInstance, b RawBinding) (Credentials, error)
	Unbind(ctx context.Context, inst RawInstance, b RawBinding) error

	// CheckInstance and CheckUpdate decode, and ask the backend where it is
	// an InstanceChecker or UpdateChecker. Their errors are the user's to
	// mend.
	CheckInstance(inst RawInstance) error
	CheckUpdate(prev, next RawInstance) error
	CheckBinding(params json.RawMessage) error

	Ready(ctx context.Context) error
	// List returns what exists; ok is false where the backend cannot tell.
	List(ctx context.Context) (found []Resource, ok bool, err error)
	// Remove deprovisions or unbinds what List found and nobody owns, by its
	// names alone.
	Remove(ctx context.Context, found Resource) error
	// Reconciles says whether Reconcile does anything.
	Reconciles() bool
	Reconcile(ctx context.Context, plans []json.RawMessage, instances []RawInstance) (ReconcileResult, error)
	// Verifies says whether Verify does anything.
	Verifies() bool
	Verify(ctx context.Context, inst RawInstance, b RawBinding) error
	// ResourceName names the instance on the server; empty where the backend is no
	// Namer or cannot tell.
	ResourceName(inst RawInstance) string
	// Describe returns the instance's attributes, none where the backend is
	// no Describer.
	Describe(ctx context.Context, inst RawInstance) (map[string]any, error)
	// Adopt takes over what exists; ok is false where the backend is no Adopter.
	Adopt(ctx context.Context, inst RawInstance, resource string, dry bool) (steps []string, ok bool, err error)
	// Directory returns the instance's directory on this machine; ok is false
	// where the backend is no DirectoryProvider.
	Directory(ctx context.Context, inst RawInstance) (dir string, ok bool, err error)
	// MountedInstances returns the IDs of the instances whose directories this one
	// uses, none where the backend is no Mounter.
	MountedInstances(inst RawInstance) ([]string, error)
	// Footprint returns the most that an instance of the plan can take of the server;
	// nothing where the backend is no FootprintReporter.
	Footprint(plan json.RawMessage) (Space, error)
	// Capacity returns what is left of the server; nothing where the backend is no
	// CapacityReporter.
	Capacity(ctx context.Context) (Capacity, error)
	SerialBinds() bool
	// VolumeMounts says whether bindings come with volume mounts.
	VolumeMounts() bool
	Close() error
}

type driver[P, I, B any] struct {
	backend      Backend[P, I, B]
	volumeMounts bool
}

func (d *driver[P, I, B]) instance(raw RawInstance) (Instance[P, I], error) {
	inst := Instance[P, I]{ID: raw.ID, Name: cmp.Or(raw.Name, InstanceName(raw.ID)), Directories: raw.Directories}
	var err error
	if inst.Plan, err = Decode[P](raw.Plan); err != nil {
		return inst, fmt.Errorf("plan: %w", err)
	}
	if inst.Params, err = Decode[I](raw.Params); err != nil {
		return inst, Rejected("parameters: %s", err)
	}
	return inst, nil
}

func (d *driver[P, I, B]) binding(inst RawInstance, raw RawBinding) (Binding[B], error) {
	b := Binding[B]{ID: raw.ID, Name: BindingName(inst.ID, raw.ID), Seed: raw.Seed}
	var err error
	if b.Params, err = Decode[B](raw.Params); err != nil {
		return b, Rejected("parameters: %s", err)
	}
	return b, nil
}

func (d *driver[P, I, B]) Provision(ctx context.Context, raw RawInstance) error {
	inst, err := d.instance(raw)
	if err != nil {
		return err
	}
	_, err = d.backend.Provision(ctx, ProvisionRequest[P, I]{inst})
	return err
}

func (d *driver[P, I, B]) Update(ctx context.Context, rawPrev, rawNext RawInstance) error {
	prev, err := d.instance(rawPrev)
	if err != nil {
		return err
	}
	next, err := d.instance(rawNext)
	if err != nil {
		return err
	}
	_, err = d.backend.Update(ctx, UpdateRequest[P, I]{prev, next})
	return err
}

// What the rules of today no longer allow must still be removable: a plan or
// parameters that do not decode are passed on as far as they do.
func (d *driver[P, I, B]) Deprovision(ctx context.Context, raw RawInstance) error {
	inst, _ := d.instance(raw)
	_, err := d.backend.Deprovision(ctx, DeprovisionRequest[P, I]{inst})
	return err
}

func (d *driver[P, I, B]) Bind(ctx context.Context, rawInst RawInstance, rawBinding RawBinding) (Credentials, error) {
	inst, err := d.instance(rawInst)
	if err != nil {
		return Credentials{}, err
	}
	b, err := d.binding(rawInst, rawBinding)
	if err != nil {
		return Credentials{}, err
	}
	result, err := d.backend.Bind(ctx, BindRequest[P, I, B]{inst, b})
	return result.Credentials, err
}

func (d *driver[P, I, B]) Unbind(ctx context.Context, rawInst RawInstance, rawBinding RawBinding) error {
	inst, _ := d.instance(rawInst)
	b, _ := d.binding(rawInst, rawBinding)
	_, err := d.backend.Unbind(ctx, UnbindRequest[P, I, B]{inst, b})
	return err
}

func (d *driver[P, I, B]) CheckInstance(raw RawInstance) error {
	inst, err := d.instance(raw)
	if err != nil {
		return err
	}
	if c, ok := d.backend.(InstanceChecker[P, I]); ok {
		return c.CheckInstance(inst)
	}
	return nil
}

func (d *driver[P, I, B]) CheckUpdate(rawPrev, rawNext RawInstance) error {
	prev, err := d.instance(rawPrev)
	if err != nil {
		return err
	}
	next, err := d.instance(rawNext)
	if err != nil {
		return err
	}
	if c, ok := d.backend.(UpdateChecker[P, I]); ok {
		return c.CheckUpdate(UpdateRequest[P, I]{prev, next})
	}
	return nil
}

func (d *driver[P, I, B]) CheckBinding(params json.RawMessage) error {
	if _, err := Decode[B](params); err != nil {
		return Rejected("parameters: %s", err)
	}
	return nil
}

func (d *driver[P, I, B]) Ready(ctx context.Context) (err error) {
	defer panicked(&err)
	if r, ok := d.backend.(Readier); ok {
		return r.Ready(ctx)
	}
	return nil
}

func (d *driver[P, I, B]) List(ctx context.Context) ([]Resource, bool, error) {
	l, ok := d.backend.(Lister)
	if !ok {
		return nil, false, nil
	}
	found, err := l.List(ctx)
	return found, true, err
}

func (d *driver[P, I, B]) Remove(ctx context.Context, found Resource) error {
	inst := Instance[P, I]{Name: found.Instance}
	if found.Binding == "" {
		_, err := d.backend.Deprovision(ctx, DeprovisionRequest[P, I]{inst})
		return err
	}
	_, err := d.backend.Unbind(ctx, UnbindRequest[P, I, B]{inst, Binding[B]{Name: found.Binding}})
	return err
}

func (d *driver[P, I, B]) Reconciles() bool {
	_, ok := d.backend.(Reconciler[P, I])
	return ok
}

func (d *driver[P, I, B]) Reconcile(ctx context.Context, rawPlans []json.RawMessage, raws []RawInstance) (ReconcileResult, error) {
	k, ok := d.backend.(Reconciler[P, I])
	if !ok {
		return ReconcileResult{}, nil
	}
	plans := make([]P, 0, len(rawPlans))
	for _, raw := range rawPlans {
		p, err := Decode[P](raw)
		if err != nil {
			return ReconcileResult{}, fmt.Errorf("plan: %w", err)
		}
		plans = append(plans, p)
	}
	instances := make([]Instance[P, I], 0, len(raws))
	for _, raw := range raws {
		// One that today's rules no longer allow must not keep the others
		// from being looked after; its next operation tells what is wrong.
		if inst, err := d.instance(raw); err == nil {
			instances = append(instances, inst)
		}
	}
	return k.Reconcile(ctx, ReconcileRequest[P, I]{plans, instances})
}

func (d *driver[P, I, B]) Verifies() bool {
	_, ok := d.backend.(Verifier[P, I, B])
	return ok
}

func (d *driver[P, I, B]) Verify(ctx context.Context, rawInst RawInstance, rawBinding RawBinding) (err error) {
	defer panicked(&err)
	v, ok := d.backend.(Verifier[P, I, B])
	if !ok {
		return nil
	}
	inst, err := d.instance(rawInst)
	if err != nil {
		return err
	}
	b, err := d.binding(rawInst, rawBinding)
	if err != nil {
		return err
	}
	_, err = v.Verify(ctx, VerifyRequest[P, I, B]{inst, b})
	return err
}

func (d *driver[P, I, B]) ResourceName(raw RawInstance) string {
	n, ok := d.backend.(Namer[P, I])
	if !ok {
		return ""
	}
	inst, _ := d.instance(raw) // what today's rules no longer allow has its name still
	return n.ResourceName(inst)
}

func (d *driver[P, I, B]) Describe(ctx context.Context, raw RawInstance) (map[string]any, error) {
	describer, ok := d.backend.(Describer[P, I])
	if !ok {
		return nil, nil
	}
	inst, err := d.instance(raw)
	if err != nil {
		return nil, err
	}
	return describer.Describe(ctx, inst)
}

func (d *driver[P, I, B]) Adopt(ctx context.Context, raw RawInstance, resource string, dry bool) ([]string, bool, error) {
	a, ok := d.backend.(Adopter[P, I])
	if !ok {
		return nil, false, nil
	}
	inst, err := d.instance(raw)
	if err != nil {
		return nil, true, err
	}
	result, err := a.Adopt(ctx, AdoptRequest[P, I]{inst, resource, dry})
	return result.Steps, true, err
}

func (d *driver[P, I, B]) Directory(ctx context.Context, raw RawInstance) (string, bool, error) {
	s, ok := d.backend.(DirectoryProvider[P, I])
	if !ok {
		return "", false, nil
	}
	inst, err := d.instance(raw)
	if err != nil {
		return "", true, err
	}
	dir, err := s.Directory(ctx, inst)
	return dir, true, err
}

func (d *driver[P, I, B]) MountedInstances(raw RawInstance) ([]string, error) {
	m, ok := d.backend.(Mounter[I])
	if !ok {
		return nil, nil
	}
	inst, err := d.instance(raw)
	if err != nil {
		return nil, err
	}
	return m.MountedInstances(inst.Params), nil
}

func (d *driver[P, I, B]) Footprint(raw json.RawMessage) (Space, error) {
	s, ok := d.backend.(FootprintReporter[P])
	if !ok {
		return Space{}, nil
	}
	plan, err := Decode[P](raw)
	if err != nil {
		return Space{}, fmt.Errorf("plan: %w", err)
	}
	return s.Footprint(plan), nil
}

func (d *driver[P, I, B]) Capacity(ctx context.Context) (c Capacity, err error) {
	defer panicked(&err)
	r, ok := d.backend.(CapacityReporter)
	if !ok {
		return c, nil
	}
	return r.Capacity(ctx)
}

func (d *driver[P, I, B]) SerialBinds() bool {
	s, ok := d.backend.(SerialBinder)
	return ok && s.SerialBinds()
}

func (d *driver[P, I, B]) VolumeMounts() bool { return d.volumeMounts }

func (d *driver[P, I, B]) Close() error {
	if c, ok := d.backend.(Closer); ok {
		return c.Close()
	}
	return nil
}

// panicked makes a panic the error of a call that the broker makes in goroutines
// of its own, where it would end the process; the engine watches over the verbs.
// The panic's value may hold anything: its type and place must do.
func panicked(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the backend panicked with a %T in %s", p, origin())
	}
}

// origin is where a panic began: the innermost function that is not the runtime's.
func origin() string {
	var counters [32]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(3, counters[:])]) // without Callers, origin and panicked
	for {
		f, more := frames.Next()
		if !more || !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s (%s:%d)", f.Function, filepath.Base(f.File), f.Line)
		}
	}
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
