package main

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/chandler-broker/chandler/services"
)

// reopening is a driver that another one can take the place of while it is used:
// calls under way end on the one that they began on.
type reopening struct {
	mu      sync.Mutex
	current *lease
}

// lease is a driver with the calls that use it.
type lease struct {
	services.Driver
	calls sync.WaitGroup
}

func newReopening(d services.Driver) *reopening { return &reopening{current: &lease{Driver: d}} }

// use returns the driver of the moment, until done.
func (r *reopening) use() (d services.Driver, done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current.calls.Add(1)
	return r.current.Driver, r.current.calls.Done
}

// replace makes calls from now on go to d. The one before is closed by closed once
// its calls have ended.
func (r *reopening) replace(d services.Driver, closed func(error)) {
	r.mu.Lock()
	old := r.current
	r.current = &lease{Driver: d}
	r.mu.Unlock()
	go func() {
		old.calls.Wait()
		closed(old.Close())
	}()
}

var _ services.Driver = (*reopening)(nil)

func (r *reopening) Provision(ctx context.Context, inst services.RawInstance) error {
	d, done := r.use()
	defer done()
	return d.Provision(ctx, inst)
}

func (r *reopening) Update(ctx context.Context, prev, next services.RawInstance) error {
	d, done := r.use()
	defer done()
	return d.Update(ctx, prev, next)
}

func (r *reopening) Deprovision(ctx context.Context, inst services.RawInstance) error {
	d, done := r.use()
	defer done()
	return d.Deprovision(ctx, inst)
}

func (r *reopening) Bind(ctx context.Context, inst services.RawInstance, b services.RawBinding) (services.Credentials, error) {
	d, done := r.use()
	defer done()
	return d.Bind(ctx, inst, b)
}

func (r *reopening) Unbind(ctx context.Context, inst services.RawInstance, b services.RawBinding) error {
	d, done := r.use()
	defer done()
	return d.Unbind(ctx, inst, b)
}

func (r *reopening) CheckInstance(inst services.RawInstance) error {
	d, done := r.use()
	defer done()
	return d.CheckInstance(inst)
}

func (r *reopening) CheckUpdate(prev, next services.RawInstance) error {
	d, done := r.use()
	defer done()
	return d.CheckUpdate(prev, next)
}

func (r *reopening) CheckBinding(params json.RawMessage) error {
	d, done := r.use()
	defer done()
	return d.CheckBinding(params)
}

func (r *reopening) Ready(ctx context.Context) error {
	d, done := r.use()
	defer done()
	return d.Ready(ctx)
}

func (r *reopening) List(ctx context.Context) ([]services.Resource, bool, error) {
	d, done := r.use()
	defer done()
	return d.List(ctx)
}

func (r *reopening) Remove(ctx context.Context, found services.Resource) error {
	d, done := r.use()
	defer done()
	return d.Remove(ctx, found)
}

func (r *reopening) Reconciles() bool {
	d, done := r.use()
	defer done()
	return d.Reconciles()
}

func (r *reopening) Reconcile(ctx context.Context, plans []json.RawMessage, instances []services.RawInstance) (services.ReconcileResult, error) {
	d, done := r.use()
	defer done()
	return d.Reconcile(ctx, plans, instances)
}

func (r *reopening) Verifies() bool {
	d, done := r.use()
	defer done()
	return d.Verifies()
}

func (r *reopening) Verify(ctx context.Context, inst services.RawInstance, b services.RawBinding) error {
	d, done := r.use()
	defer done()
	return d.Verify(ctx, inst, b)
}

func (r *reopening) ResourceName(inst services.RawInstance) string {
	d, done := r.use()
	defer done()
	return d.ResourceName(inst)
}

func (r *reopening) Describe(ctx context.Context, inst services.RawInstance) (map[string]any, error) {
	d, done := r.use()
	defer done()
	return d.Describe(ctx, inst)
}

func (r *reopening) Adopt(ctx context.Context, inst services.RawInstance, resource string, dry bool) ([]string, bool, error) {
	d, done := r.use()
	defer done()
	return d.Adopt(ctx, inst, resource, dry)
}

func (r *reopening) Directory(ctx context.Context, inst services.RawInstance) (string, bool, error) {
	d, done := r.use()
	defer done()
	return d.Directory(ctx, inst)
}

func (r *reopening) MountedInstances(inst services.RawInstance) ([]string, error) {
	d, done := r.use()
	defer done()
	return d.MountedInstances(inst)
}

func (r *reopening) Footprint(plan json.RawMessage) (services.Space, error) {
	d, done := r.use()
	defer done()
	return d.Footprint(plan)
}

func (r *reopening) Capacity(ctx context.Context) (services.Capacity, error) {
	d, done := r.use()
	defer done()
	return d.Capacity(ctx)
}

func (r *reopening) SerialBinds() bool {
	d, done := r.use()
	defer done()
	return d.SerialBinds()
}

func (r *reopening) VolumeMounts() bool {
	d, done := r.use()
	defer done()
	return d.VolumeMounts()
}

func (r *reopening) Close() error {
	d, done := r.use()
	defer done()
	return d.Close()
}
