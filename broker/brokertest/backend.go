// Package brokertest makes a whole broker for tests and benchmarks: the real
// rules, engine and state on a real PostgreSQL, with a backend in memory that
// does what the test says.
package brokertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/chandler-broker/chandler/services"
)

// Backend is a backend in memory. Its hooks are called before and after each verb, which
// returns their errors. It is safe for concurrent use.
type Backend struct {
	mu          sync.Mutex
	before      func(ctx context.Context, verb, id string) error
	after       func(ctx context.Context, verb, id, secret string) error
	onReconcile func(ids []string) (map[string]string, error)
	onVerify    func(ctx context.Context, id string) error
	instances   map[string]*instance // by their names
	serial      bool
	increments  bool
	calls       []string
	actions     []string
	servers     map[string]string // the server that each instance was last called on, by its ID
	unreachable map[string]bool   // servers that do not answer

	held map[string]*heldBackup // what HolderDefinition's server holds, by their IDs

	attributes  map[string]any
	describeErr error
}

type instance struct {
	colour      string
	directories map[string]string
	passwords   map[string]string // by binding name
	data        map[string]string // what applications stored
}

// streamer is what all kinds of the backend are.
type streamer interface {
	services.Backend[Plan, Params, BindParams]
	services.Streamer[Plan, Params]
	services.Incrementer
}

type config struct {
	Pooled bool `json:"pooled,omitempty"` // neither a Reconciler nor a Verifier
}

// Plan is the in-memory backend's plan.
type Plan struct {
	Size int `json:"size,omitempty"` // what an instance takes, in kB
}

// Params are the in-memory backend's parameters of an instance.
type Params struct {
	Colour string `json:"colour,omitempty"`
	Weight any    `json:"weight,omitempty"`
	// Uses are IDs of instances whose directories this one uses.
	Uses []string `json:"uses,omitempty"`
	// Action is one: see services.Schemas.Actions.
	Action string `json:"action,omitempty"`
}

// BindParams are the in-memory backend's parameters of a binding.
type BindParams struct {
	Role string `json:"role,omitempty"`
}

const (
	instanceSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"colour": {"type": "string", "maxLength": 20}, "weight": {},
			"uses": {"type": "array", "items": {"type": "string"}}}}`
	updateSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"colour": {"type": "string", "maxLength": 20}, "weight": {},
			"uses": {"type": "array", "items": {"type": "string"}}, "action": {"type": "string"}}}`
	bindingSchema = `{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {"role": {"enum": ["read_write", "read_only"]}}}`
)

// NewBackend makes an empty Backend.
func NewBackend() *Backend {
	return &Backend{instances: map[string]*instance{}, servers: map[string]string{}, unreachable: map[string]bool{}, held: map[string]*heldBackup{}}
}

// Definition describes the backend as "database/memory".
func (m *Backend) Definition() services.Definition { return m.define("database/memory", false) }

// VolumeDefinition describes the same backend as "filesystem/memory", whose
// bindings come with a volume mount.
func (m *Backend) VolumeDefinition() services.Definition { return m.define("filesystem/memory", true) }

func (m *Backend) define(name string, volumeMounts bool) services.Definition {
	return services.Define(name,
		services.Schemas{InstanceCreate: []byte(instanceSchema), InstanceUpdate: []byte(updateSchema), BindingCreate: []byte(bindingSchema), Actions: []string{"action"}},
		services.Client{CredentialType: "memory", VolumeMounts: volumeMounts},
		func(_ context.Context, c config) (streamer, error) {
			switch {
			case volumeMounts:
				return directoryProvider{m}, nil
			case c.Pooled:
				return m, nil
			case m.onReconcile != nil:
				return reconciler{m}, nil
			case m.onVerify != nil:
				return verifier{m}, nil
			}
			return m, nil
		})
}

// OnReconcile makes the backend a Reconciler. k gets the instances' IDs and returns the
// messages of their conditions.
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

// OnVerify makes the backend a Verifier. v is called with the binding's ID before the
// credentials are repaired; Verify returns its error.
func (m *Backend) OnVerify(v func(ctx context.Context, id string) error) { m.onVerify = v }

type verifier struct{ *Backend }

// Verify implements services.Verifier.
func (v verifier) Verify(ctx context.Context, r services.VerifyRequest[Plan, Params, BindParams]) (none services.VerifyResult, err error) {
	if err := v.onVerify(ctx, r.Binding.ID); err != nil {
		return none, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if i := v.instances[r.Instance.Name]; i != nil && i.passwords[r.Binding.Name] != "" {
		i.passwords[r.Binding.Name] = r.Binding.Seed.Password("password").Reveal()
	}
	return none, nil
}

// Break changes the passwords of all bindings, as applications may.
func (m *Backend) Break() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.instances {
		for name := range i.passwords {
			i.passwords[name] = "changed by its application"
		}
	}
}

// directoryProvider is the backend of VolumeDefinition.
type directoryProvider struct{ *Backend }

// Directory implements services.DirectoryProvider.
func (directoryProvider) Directory(_ context.Context, inst services.Instance[Plan, Params]) (string, error) {
	return "/memory/" + inst.Name, nil
}

// MountedInstances implements services.Mounter.
func (m *Backend) MountedInstances(p Params) []string { return p.Uses }

// Directories returns the directories that an instance mounts.
func (m *Backend) Directories(id string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := m.instances[services.InstanceName(id)]; i != nil {
		return i.directories
	}
	return nil
}

// BeforeCall sets what is called before each verb (provision, update, deprovision, bind,
// unbind) with the instance's or binding's ID.
func (m *Backend) BeforeCall(h func(ctx context.Context, verb, id string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = h
}

// AfterCall sets what is called when a verb has taken effect. secret is the password that
// bind made.
func (m *Backend) AfterCall(h func(ctx context.Context, verb, id, secret string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.after = h
}

// call records a call, and runs effect between the hooks.
func (m *Backend) call(ctx context.Context, verb, id, secret string, effect func() error) error {
	m.mu.Lock()
	m.calls = append(m.calls, verb+" "+id)
	before := m.before
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx, verb, id); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err, after := effect(), m.after
	m.mu.Unlock()
	if err != nil || after == nil {
		return err
	}
	return after(ctx, verb, id, secret)
}

// Colour returns the colour of an instance; false if the backend does not have the instance.
func (m *Backend) Colour(id string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, ok := m.instances[services.InstanceName(id)]
	if !ok {
		return "", false
	}
	return i.colour, true
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
	for _, i := range m.instances {
		bindings += len(i.passwords)
	}
	return len(m.instances), bindings
}

// Provision implements services.Backend.
func (m *Backend) Provision(ctx context.Context, r services.ProvisionRequest[Plan, Params]) (none services.ProvisionResult, err error) {
	return none, m.call(ctx, "provision", r.Instance.ID, "", func() error {
		if m.instances[r.Instance.Name] == nil {
			m.instances[r.Instance.Name] = &instance{passwords: map[string]string{}, data: map[string]string{}}
		}
		return m.set(r.Instance)
	})
}

// Update implements services.Backend.
func (m *Backend) Update(ctx context.Context, r services.UpdateRequest[Plan, Params]) (none services.UpdateResult, err error) {
	return none, m.call(ctx, "update", r.Instance.ID, "", func() error {
		if r.Instance.Params.Action != "" {
			m.actions = append(m.actions, r.Operation+" "+r.Instance.Params.Action)
		}
		return m.set(r.Instance)
	})
}

// Actions returns the actions of all updates, each after its operation's ID.
func (m *Backend) Actions() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.actions)
}

func (m *Backend) set(to services.Instance[Plan, Params]) error {
	i := m.instances[to.Name]
	if i == nil {
		return fmt.Errorf("instance %s does not exist", to.Name)
	}
	i.colour, i.directories = to.Params.Colour, to.Directories
	return nil
}

// CheckUpdate implements services.UpdateChecker: no colour can be changed to black.
func (m *Backend) CheckUpdate(r services.UpdateRequest[Plan, Params]) error {
	if r.Previous.Params.Colour != "black" && r.Instance.Params.Colour == "black" {
		return services.Rejected("parameters.colour: cannot be changed to black")
	}
	return nil
}

// Deprovision implements services.Backend.
func (m *Backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, Params]) (none services.DeprovisionResult, err error) {
	return none, m.call(ctx, "deprovision", r.Instance.ID, "", func() error {
		delete(m.instances, r.Instance.Name)
		return nil
	})
}

// Bind implements services.Backend.
func (m *Backend) Bind(ctx context.Context, r services.BindRequest[Plan, Params, BindParams]) (services.BindResult, error) {
	password := r.Binding.Seed.Password("password").Reveal()
	err := m.call(ctx, "bind", r.Binding.ID, password, func() error {
		i := m.instances[r.Instance.Name]
		if i == nil {
			return fmt.Errorf("instance %s does not exist", r.Instance.Name)
		}
		i.passwords[r.Binding.Name] = password
		return nil
	})
	if err != nil {
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

// Unbind implements services.Backend.
func (m *Backend) Unbind(ctx context.Context, r services.UnbindRequest[Plan, Params, BindParams]) (none services.UnbindResult, err error) {
	return none, m.call(ctx, "unbind", r.Binding.ID, "", func() error {
		if i := m.instances[r.Instance.Name]; i != nil {
			delete(i.passwords, r.Binding.Name)
		}
		return nil
	})
}

// Attributes sets what Describe returns of every instance; context.DeadlineExceeded only when
// its time is over.
func (m *Backend) Attributes(attributes map[string]any, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.attributes, m.describeErr = attributes, err
}

// Describe implements services.Describer.
func (m *Backend) Describe(ctx context.Context, _ services.Instance[Plan, Params]) (map[string]any, error) {
	m.mu.Lock()
	attributes, err := m.attributes, m.describeErr
	m.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) {
		<-ctx.Done()
	}
	return attributes, err
}

// Footprint implements services.FootprintReporter.
func (m *Backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: services.Size(p.Size) * services.Kilobyte}
}

// List implements services.Lister.
func (m *Backend) List(context.Context) ([]services.Resource, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var found []services.Resource
	for name, i := range m.instances {
		found = append(found, services.Resource{Instance: name, Name: name})
		for b := range i.passwords {
			found = append(found, services.Resource{Instance: name, Binding: b, Name: b})
		}
	}
	return found, nil
}

// Works reports whether the backend accepts credentials that Bind returned.
func (m *Backend) Works(credentials json.RawMessage) bool {
	var c struct{ Username, Password string }
	if json.Unmarshal(credentials, &c) != nil || c.Password == "" {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range m.instances {
		if i.passwords[c.Username] == c.Password {
			return true
		}
	}
	return false
}
