// Package brokertest makes a whole broker for tests and benchmarks: the real
// rules, engine and state on a real PostgreSQL, with a backend in memory that
// does what the test says.
package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

	"github.com/chandler-broker/chandler/services"
)

// Backend is a backend in memory. Its hooks are called before and after each
// verb; what a hook returns is what the verb returns. It is safe for concurrent
// use.
type Backend struct {
	mu          sync.Mutex
	hook        func(ctx context.Context, verb, id string) error
	after       func(ctx context.Context, verb, id, secret string) error
	onReconcile func(ids []string) (map[string]string, error)
	onVerify    func(ctx context.Context, id string) error
	instances   map[string]map[string]string // instance name → binding name → password
	params      map[string]string
	folders     map[string]map[string]string
	serial      bool
	calls       []string
	servers     map[string]string // the server that each instance was last called on, by its ID
	unreachable map[string]bool   // servers that do not answer

	attributes  map[string]any
	describeErr error
}

// Plan is the in-memory backend's plan: nothing that it heeds.
type Plan struct {
	Size int `json:"size,omitempty"` // what an instance takes, in kB
}

// Params are the in-memory backend's parameters of an instance.
type Params struct {
	Colour string `json:"colour,omitempty"`
	Weight any    `json:"weight,omitempty"`
	// Uses are IDs of instances whose directories this one uses.
	Uses []string `json:"uses,omitempty"`
}

// BindParams are the in-memory backend's parameters of a binding.
type BindParams struct {
	Role string `json:"role,omitempty"`
}

const (
	instanceSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"colour": {"type": "string", "maxLength": 20}, "weight": {},
			"uses": {"type": "array", "items": {"type": "string"}}}}`
	bindingSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"role": {"enum": ["read_write", "read_only"]}}}`
)

// NewBackend makes an empty Backend.
func NewBackend() *Backend {
	return &Backend{
		instances: map[string]map[string]string{}, params: map[string]string{}, folders: map[string]map[string]string{},
		servers: map[string]string{}, unreachable: map[string]bool{},
	}
}

// Definition describes the backend as "database/memory".
func (m *Backend) Definition() services.Definition { return m.define("database/memory", false) }

// VolumeDefinition describes the same backend as "filesystem/memory", whose
// bindings come with a volume mount.
func (m *Backend) VolumeDefinition() services.Definition { return m.define("filesystem/memory", true) }

func (m *Backend) define(name string, volumeMounts bool) services.Definition {
	type config struct {
		Server string `json:"server,omitempty"`
	}
	return services.Define(name,
		services.Schemas{InstanceCreate: []byte(instanceSchema), InstanceUpdate: []byte(instanceSchema), BindingCreate: []byte(bindingSchema)},
		services.Client{CredentialType: "memory", VolumeMounts: volumeMounts},
		func(_ context.Context, c config) (services.Backend[Plan, Params, BindParams], error) {
			switch {
			case volumeMounts:
				return sharer{m}, nil
			case c.Server != "":
				return poolBackend{m, c.Server}, nil
			case m.onReconcile != nil:
				return reconciler{m}, nil
			case m.onVerify != nil:
				return verifier{m}, nil
			}
			return m, nil
		})
}

// OnReconcile makes the backend implement Reconciler: k is told the
// instances' IDs and returns what their users should know.
func (m *Backend) OnReconcile(k func(ids []string) (map[string]string, error)) { m.onReconcile = k }

type reconciler struct{ *Backend }

// Reconcile implements services.Reconciler.
func (k reconciler) Reconcile(_ context.Context, r services.ReconcileRequest[Plan, Params]) (result services.ReconcileResult, err error) {
	ids := make([]string, 0, len(r.Instances))
	for _, i := range r.Instances {
		ids = append(ids, i.ID)
	}
	notes, err := k.onReconcile(ids)
	if notes == nil && err != nil {
		return result, err
	}
	for _, id := range ids {
		result.Record(id, services.Condition{Reason: services.OverQuota, Message: notes[id]}, nil)
	}
	return result, err
}

// OnVerify makes the backend implement Verifier. v is called with the binding's ID
// before the credentials are repaired; Verify returns its error.
func (m *Backend) OnVerify(v func(ctx context.Context, id string) error) { m.onVerify = v }

type verifier struct{ *Backend }

// Verify implements services.Verifier.
func (v verifier) Verify(ctx context.Context, r services.VerifyRequest[Plan, Params, BindParams]) (services.VerifyResult, error) {
	if err := v.onVerify(ctx, r.Binding.ID); err != nil {
		return services.VerifyResult{}, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.instances[r.Instance.Name][r.Binding.Name]; ok {
		v.instances[r.Instance.Name][r.Binding.Name] = r.Binding.Seed.Password("password").Reveal()
	}
	return services.VerifyResult{}, nil
}

// Break changes the passwords of all bindings, as applications may.
func (m *Backend) Break() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, bindings := range m.instances {
		for name := range bindings {
			bindings[name] = "changed by its application"
		}
	}
}

// sharer is the backend of VolumeDefinition.
type sharer struct{ *Backend }

// Directory implements services.DirectoryProvider.
func (sharer) Directory(_ context.Context, inst services.Instance[Plan, Params]) (string, error) {
	return "/memory/" + inst.Name, nil
}

// MountedInstances implements services.Mounter.
func (m *Backend) MountedInstances(p Params) []string { return p.Uses }

// Directories returns the directories an instance was given.
func (m *Backend) Directories(id string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.folders[services.InstanceName(id)]
}

// BeforeCall sets what is called before each verb: provision, update, deprovision,
// bind, unbind, with the instance's or binding's ID.
func (m *Backend) BeforeCall(h func(ctx context.Context, verb, id string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hook = h
}

// AfterCall sets what is called when a verb has taken effect: what it returns is
// told although it did. secret is the password that bind made.
func (m *Backend) AfterCall(h func(ctx context.Context, verb, id, secret string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.after = h
}

func (m *Backend) runAfter(ctx context.Context, verb, id, secret string) error {
	m.mu.Lock()
	after := m.after
	m.mu.Unlock()
	if after == nil {
		return nil
	}
	return after(ctx, verb, id, secret)
}

// Colour returns the colour an instance has; false where there is no instance.
func (m *Backend) Colour(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	colour, ok := m.params[services.InstanceName(id)]
	return colour, ok
}

// Serial makes the engine run the binds of one instance one at a time.
func (m *Backend) Serial() { m.serial = true }

// SerialBinds implements services.SerialBinder.
func (m *Backend) SerialBinds() bool { return m.serial }

// Calls returns the verbs that were called, each with its ID, in order.
func (m *Backend) Calls() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// Size returns how many instances and bindings exist.
func (m *Backend) Size() (instances, bindings int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.instances {
		bindings += len(b)
	}
	return len(m.instances), bindings
}

func (m *Backend) runBefore(ctx context.Context, verb, id string) error {
	m.mu.Lock()
	m.calls = append(m.calls, verb+" "+id)
	hook := m.hook
	m.mu.Unlock()
	if hook == nil {
		return nil
	}
	return hook(ctx, verb, id)
}

// Provision implements services.Backend.
func (m *Backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, Params]) (services.ProvisionResult, error) {
	if err := m.runBefore(ctx, "provision", r.Instance.ID); err != nil {
		return services.ProvisionResult{}, err
	}
	m.mu.Lock()
	if m.instances[r.Instance.Name] == nil {
		m.instances[r.Instance.Name] = map[string]string{}
	}
	m.params[r.Instance.Name], m.folders[r.Instance.Name] = r.Instance.Params.Colour, r.Instance.Directories
	m.mu.Unlock()
	return services.ProvisionResult{}, m.runAfter(ctx, "provision", r.Instance.ID, "")
}

// Update implements services.Backend.
func (m *Backend) Update(ctx context.Context, r services.UpdateRequest[Plan, Params]) (services.UpdateResult, error) {
	if err := m.runBefore(ctx, "update", r.Instance.ID); err != nil {
		return services.UpdateResult{}, err
	}
	m.mu.Lock()
	m.params[r.Instance.Name], m.folders[r.Instance.Name] = r.Instance.Params.Colour, r.Instance.Directories
	m.mu.Unlock()
	return services.UpdateResult{}, m.runAfter(ctx, "update", r.Instance.ID, "")
}

// CheckUpdate implements services.UpdateChecker: nothing turns into black.
func (m *Backend) CheckUpdate(r services.UpdateRequest[Plan, Params]) error {
	if r.Previous.Params.Colour != "black" && r.Instance.Params.Colour == "black" {
		return services.Rejected("parameters.colour: cannot be changed to black")
	}
	return nil
}

// Deprovision implements services.Backend.
func (m *Backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, Params]) (services.DeprovisionResult, error) {
	if err := m.runBefore(ctx, "deprovision", r.Instance.ID); err != nil {
		return services.DeprovisionResult{}, err
	}
	m.mu.Lock()
	delete(m.instances, r.Instance.Name)
	delete(m.params, r.Instance.Name)
	m.mu.Unlock()
	return services.DeprovisionResult{}, m.runAfter(ctx, "deprovision", r.Instance.ID, "")
}

// Bind implements services.Backend.
func (m *Backend) Bind(ctx context.Context, r services.BindRequest[Plan, Params, BindParams]) (services.BindResult, error) {
	if err := m.runBefore(ctx, "bind", r.Binding.ID); err != nil {
		return services.BindResult{}, err
	}
	password := r.Binding.Seed.Password("password").Reveal()
	if err := m.admit(r.Instance.Name, r.Binding.Name, password); err != nil {
		return services.BindResult{}, err
	}
	if err := m.runAfter(ctx, "bind", r.Binding.ID, password); err != nil {
		return services.BindResult{}, err
	}
	return services.BindResult{Credentials: services.Credentials{
		Values:    map[string]any{"type": "memory", "host": "127.0.0.1", "username": r.Binding.Name, "password": password},
		Endpoints: []services.Endpoint{{Host: "127.0.0.1", Ports: []string{"5432"}, Protocol: "tcp"}},
		VolumeMounts: []services.VolumeMount{{
			Driver: "memorydriver", ContainerDir: "/var/vcap/data/" + r.Binding.Name, Mode: "rw", DeviceType: "shared",
			Device: services.VolumeDevice{VolumeID: r.Instance.Name, MountConfig: map[string]any{"username": r.Binding.Name, "password": password}},
		}},
	}}, nil
}

func (m *Backend) admit(instance, binding, password string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.instances[instance] == nil {
		return fmt.Errorf("instance %s is not there", instance)
	}
	m.instances[instance][binding] = password
	return nil
}

// Unbind implements services.Backend.
func (m *Backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, Params, BindParams]) (services.UnbindResult, error) {
	if err := m.runBefore(ctx, "unbind", r.Binding.ID); err != nil {
		return services.UnbindResult{}, err
	}
	m.mu.Lock()
	delete(m.instances[r.Instance.Name], r.Binding.Name)
	m.mu.Unlock()
	return services.UnbindResult{}, m.runAfter(ctx, "unbind", r.Binding.ID, "")
}

// Attributes sets what Describe returns of every instance; an error, what it
// fails with.
func (m *Backend) Attributes(attributes map[string]any, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attributes, m.describeErr = attributes, err
}

// Describe implements services.Describer.
func (m *Backend) Describe(context.Context, services.Instance[Plan, Params]) (map[string]any, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.attributes, m.describeErr
}

// Ready implements services.Readier: Away with an empty name makes it fail.
func (m *Backend) Ready(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unreachable[""] {
		return errUnreachable
	}
	return nil
}

// List implements services.Lister.
func (m *Backend) List(context.Context) ([]services.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []services.Resource
	for name, bindings := range m.instances {
		found = append(found, services.Resource{Instance: name, Name: name})
		for b := range bindings {
			found = append(found, services.Resource{Instance: name, Binding: b, Name: b})
		}
	}
	return found, nil
}

// Works says whether a password that Bind handed out would be accepted.
func (m *Backend) Works(credentials json.RawMessage) bool {
	var c struct{ Username, Password string }
	if json.Unmarshal(credentials, &c) != nil || c.Password == "" {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, bindings := range m.instances {
		if bindings[c.Username] == c.Password {
			return true
		}
	}
	return false
}
