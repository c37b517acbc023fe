// Package services is the contract between the broker and the code that makes
// one kind of resource, a backend. A backend is one folder below this package;
// the suite in servicetest holds all of them to what is written here.
package services

import (
	"context"
)

// Backend makes, changes and removes the resources of one kind.
//
// P is the plan's own configuration, I the user's parameters of an instance
// and B the user's parameters of a binding. All three arrive decoded,
// defaulted and validated.
//
// Every method converges: called again after success, after failure or after a
// crash half-way, it leaves the same one result. Names of outside resources
// derive from Instance.Name and Binding.Name alone, so a backend keeps no
// state. The engine makes one call at a time for an instance's own verbs; Bind
// and Unbind of different bindings of one instance run side by side, unless
// the backend is a SerialBinder.
//
// A method neither loops nor sleeps to wait: it returns NotYet and is called
// again. An error built by Rejected is final and shown to the user. Every other
// error is retried until the operation's deadline; one built by OutOfCapacity tells
// the user why.
//
// ctx ends after 30 s at the latest, and sooner where the operation is halted. A
// method returns then, within seconds and also where the server says nothing more.
// A change that it has sent it sees to its end first (RunToCompletion): what comes next may
// be the call that undoes it.
type Backend[P, I, B any] interface {
	// Provision makes the instance's resources.
	Provision(ctx context.Context, r ProvisionRequest[P, I]) (ProvisionResult, error)
	// Update turns r.Previous into r.Instance. The engine undoes an update that
	// failed half-way by a call with the two exchanged.
	Update(ctx context.Context, r UpdateRequest[P, I]) (UpdateResult, error)
	// Deprovision removes everything Provision and Bind made, data
	// included. What is absent already is no error.
	Deprovision(ctx context.Context, r DeprovisionRequest[P, I]) (DeprovisionResult, error)
	// Bind makes a credential work that is this binding's alone, its
	// secrets derived from the binding's seed, so that a repeated call makes
	// the same credential.
	Bind(ctx context.Context, r BindRequest[P, I, B]) (BindResult, error)
	// Unbind makes the credential stop working, live sessions included, and
	// leaves the instance's data and its other bindings alone. What is
	// absent already is no error.
	Unbind(ctx context.Context, r UnbindRequest[P, I, B]) (UnbindResult, error)
}

// The requests and results of the verbs. They are structs so that an argument or a
// result can be added without a change to every backend. Instance and Binding are
// embedded: by them a Driver knows what a call is about.
type (
	// ProvisionRequest is the argument of Provision.
	ProvisionRequest[P, I any] struct{ Instance[P, I] }
	// UpdateRequest is the argument of Update and CheckUpdate: the instance as it
	// is, and as it is to be.
	UpdateRequest[P, I any] struct {
		Previous Instance[P, I]
		Instance[P, I]
	}
	// DeprovisionRequest is the argument of Deprovision.
	DeprovisionRequest[P, I any] struct{ Instance[P, I] }
	// BindRequest is the argument of Bind.
	BindRequest[P, I, B any] struct {
		Instance[P, I]
		Binding[B]
	}
	// UnbindRequest is the argument of Unbind.
	UnbindRequest[P, I, B any] struct {
		Instance[P, I]
		Binding[B]
	}

	// ProvisionResult is the result of Provision.
	ProvisionResult struct{}
	// UpdateResult is the result of Update.
	UpdateResult struct{}
	// DeprovisionResult is the result of Deprovision.
	DeprovisionResult struct{}
	// BindResult is the result of Bind.
	BindResult struct{ Credentials Credentials }
	// UnbindResult is the result of Unbind.
	UnbindResult struct{}
)

// Instance is a service instance as a backend sees it.
type Instance[P, I any] struct {
	// ID is the platform's identifier when the resource was made, for a restored
	// instance another than its own: any non-empty string of at most 255
	// characters. Never use it raw in a name; that is what Name is for.
	ID string
	// Name is the safe name derived from ID: 26 characters, [a-z2-7].
	Name   string
	Plan   P
	Params I
	// Directories are the directories of the instances that Params name, by
	// instance ID: of a Mounter, in Provision and in next of Update. One that
	// was deleted since is not among them.
	Directories map[string]string
}

func (i Instance[P, I]) instanceID() string { return i.ID }

// Binding is a service binding as a backend sees it.
type Binding[B any] struct {
	// ID is the platform's identifier; the remark at Instance.ID holds.
	ID string
	// Name is the safe name derived from the instance's and the binding's
	// ID: 26 characters, [a-z2-7].
	Name   string
	Params B

	// Seed is what the binding's secrets derive from. It is nil in Unbind:
	// revoking needs no secret.
	Seed *Seed
}

func (b Binding[B]) bindingID() string { return b.ID }

// Credentials is what an application needs to use an instance.
type Credentials struct {
	// Values is what the platform hands to the application, under the
	// well-known keys of the Service Binding Specification where it has one:
	// type, provider, host, port, uri, username, password, certificates.
	// Values holds JSON's types only.
	Values map[string]any
	// Endpoints is where the application connects to (OSB, "Endpoint
	// Object"); it holds nothing secret.
	Endpoints []Endpoint
	// VolumeMounts is what the platform mounts into the application's
	// containers; only of a backend whose Client says VolumeMounts.
	VolumeMounts []VolumeMount
}

// VolumeMount is a remote volume that a platform mounts into an application's
// containers (OSB, "Volume Mount Object"). Its device may hold secrets.
type VolumeMount struct {
	// Driver is the platform's volume driver, such as "smbdriver".
	Driver string `json:"driver"`
	// ContainerDir is the absolute path in the container.
	ContainerDir string `json:"container_dir"`
	// Mode is "r" or "rw".
	Mode string `json:"mode"`
	// DeviceType is "shared", the only one that the specification has.
	DeviceType string       `json:"device_type"`
	Device     VolumeDevice `json:"device"`
}

// VolumeDevice is what a volume driver mounts (OSB, "Device Object").
type VolumeDevice struct {
	// VolumeID is the volume's identity to the driver, which mounts one
	// volume once: bindings with credentials of their own need one each.
	VolumeID string `json:"volume_id"`
	// MountConfig is what the driver reads, credentials included; values of
	// JSON's types.
	MountConfig map[string]any `json:"mount_config,omitempty"`
}

// Endpoint is a network address that an application connects to (OSB,
// "Endpoint Object"). Ports are decimal numbers or ranges ("8080-8090") as
// strings; Protocol is "tcp", "udp" or "all".
type Endpoint struct {
	Host     string   `json:"host"`
	Ports    []string `json:"ports"`
	Protocol string   `json:"protocol,omitempty"`
}

// What follows is optional: a backend has the method or has not.

// Readier is a backend that can tell whether its server answers.
type Readier interface {
	// Ready returns nil when the server would accept work now.
	Ready(ctx context.Context) error
}

// Lister is a backend that can tell what exists on its server, for finding
// orphans.
type Lister interface {
	// List returns every instance and every binding that this backend made
	// and that is still there, complete or not.
	List(ctx context.Context) ([]Resource, error)
}

// Resource is a resource that exists on a backend's server.
type Resource struct {
	// Instance is the Instance.Name that the resource belongs to; empty when
	// only the binding's name can be told.
	Instance string
	// Binding is the Binding.Name; empty for the instance itself.
	Binding string
	// Name is the name on the server, for the operator to look up.
	Name string
	// Leftover says that the instance or binding itself is gone, and that this is
	// what is left of it.
	Leftover bool
}

// UpdateChecker is a backend that can refuse an update before it is accepted.
type UpdateChecker[P, I any] interface {
	// CheckUpdate returns an error built by Rejected where the instance cannot
	// become what is asked. It makes no outside call.
	CheckUpdate(r UpdateRequest[P, I]) error
}

// InstanceChecker is a backend whose plans narrow what parameters may say
// beyond what a schema can express.
type InstanceChecker[P, I any] interface {
	// CheckInstance returns an error built by Rejected where the plan does
	// not allow the parameters. It makes no outside call.
	CheckInstance(inst Instance[P, I]) error
}

// Reconciler is a backend that enforces in the background what its server does not
// enforce, or keeps spare resources ready.
type Reconciler[P, I any] interface {
	// Reconcile is called every few seconds, by one replica at a time, and after a
	// provision. Operations on the same instances go on at the same time. An error
	// concerns the server as a whole; that of one instance is in the result, so that
	// the broker records the others' conditions nevertheless.
	Reconcile(ctx context.Context, r ReconcileRequest[P, I]) (ReconcileResult, error)
}

// ReconcileRequest is the argument of Reconcile.
type ReconcileRequest[P, I any] struct {
	// Plans are all plans of the backend.
	Plans []P
	// Instances is a batch of the instances that are ready. It may be empty.
	Instances []Instance[P, I]
}

// ReconcileResult is the result of Reconcile.
type ReconcileResult struct {
	// Instances are the instances that Reconcile examined, by Instance.ID. The
	// condition of any other instance stays what it was.
	Instances map[string]InstanceResult
}

// InstanceResult is what Reconcile found out about one instance. The zero value
// says that it is in order.
type InstanceResult struct {
	// Condition is shown to the instance's user.
	Condition Condition
	// Err is what went wrong, for the operator's log.
	Err error
}

// Record adds an instance's result. A condition without a message is none.
func (r *ReconcileResult) Record(instanceID string, c Condition, err error) {
	if c.Message == "" {
		c = Condition{}
	}
	if r.Instances == nil {
		r.Instances = map[string]InstanceResult{}
	}
	r.Instances[instanceID] = InstanceResult{c, err}
}

// Condition is what is wrong with an instance that exists.
type Condition struct {
	// Reason is for the operator's metrics and alerts.
	Reason Reason
	// Message is for the instance's user: what is wrong, and what to do.
	Message string
}

// Reason classifies conditions.
type Reason string

const (
	// OverQuota is an instance above one of its plan's limits.
	OverQuota Reason = "over_quota"
	// Inaccessible is an instance that the broker cannot enter, so that its
	// limits are not enforced.
	Inaccessible Reason = "inaccessible"
)

// Reasons are all reasons of a condition.
func Reasons() []Reason { return []Reason{OverQuota, Inaccessible} }

// LimitsNotEnforced is the condition of an instance whose limits could not be enforced;
// Reconcile's error says why.
func LimitsNotEnforced() Condition {
	return Condition{Reason: Inaccessible, Message: "the plan's limits cannot be enforced at the moment; if this stays so, ask your operator, whose log says why"}
}

// Space is an amount of what a server has to give away, in bytes; what is 0 is not
// told.
type Space struct{ Storage, Memory Size }

// FootprintReporter is a backend whose plans bound what an instance can take of its server.
type FootprintReporter[P any] interface {
	// Footprint returns the most that an instance of the plan can take. It makes no
	// outside call.
	Footprint(plan P) Space
}

// CapacityReporter is a backend that can tell how much of its server is left.
type CapacityReporter interface {
	// Capacity returns how much the server has.
	Capacity(ctx context.Context) (Capacity, error)
}

// Capacity is what a server has in all, and how much of that nothing is using.
type Capacity struct{ Free, Total Space }

// Describer is a backend whose instances have something to tell their users
// beside credentials.
type Describer[P, I any] interface {
	// Describe returns the attributes of an instance that is ready (OSB,
	// "Service Instance Metadata Object"): values of JSON's types, nothing
	// secret. It changes nothing.
	Describe(ctx context.Context, inst Instance[P, I]) (map[string]any, error)
}

// Adopter is a backend that can make an instance's what exists on its server and
// was made by others.
type Adopter[P, I any] interface {
	// Adopt replaces the instance's own resource, which is unused (the instance was
	// just made and has no bindings), by r.Resource. An error built by Rejected says
	// what the operator has to do first, and that nothing was changed. Repeated
	// after a crash half-way it goes on.
	Adopt(ctx context.Context, r AdoptRequest[P, I]) (AdoptResult, error)
}

// AdoptRequest is the argument of Adopt.
type AdoptRequest[P, I any] struct {
	Instance[P, I]
	// Resource is the name on the server of what to adopt.
	Resource string
	// DryRun asks for the steps only.
	DryRun bool
}

// AdoptResult is the result of Adopt.
type AdoptResult struct {
	// Steps are what was done, or would be, in words for the operator.
	Steps []string
}

// Verifier is a backend whose bindings' holders can break their own credentials,
// such as by changing a password.
type Verifier[P, I, B any] interface {
	// Verify makes the credentials that Bind returned work again where they do
	// not. The engine calls it when a bind is repeated or fetched, and from time
	// to time; where nothing is wrong it costs a round trip or two. A binding
	// that does not exist is not made.
	Verify(ctx context.Context, r VerifyRequest[P, I, B]) (VerifyResult, error)
}

// VerifyRequest is the argument of Verify.
type VerifyRequest[P, I, B any] struct {
	Instance[P, I]
	Binding[B]
}

// VerifyResult is the result of Verify.
type VerifyResult struct{}

// Namer is a backend that can name an instance's resource without a call.
type Namer[P, I any] interface {
	// ResourceName is the name on the server, as List returns it in Resource.Name
	// of the instance itself. It makes no outside call; empty where it cannot be
	// told.
	ResourceName(inst Instance[P, I]) string
}

// DirectoryProvider is a backend whose instances are directories that programs on this
// machine may use beside the backend's own clients.
type DirectoryProvider[P, I any] interface {
	// Directory returns the absolute path of the directory that holds the
	// instance's files. It changes nothing.
	Directory(ctx context.Context, inst Instance[P, I]) (string, error)
}

// Mounter is a backend whose instances use directories of DirectoryProviders' instances.
// The engine finds them: they must be ready and of the same tenant, which is
// the same platform, organisation and space.
type Mounter[I any] interface {
	// MountedInstances returns the IDs of the instances that the parameters name. It
	// makes no outside call.
	MountedInstances(params I) []string
}

// SerialBinder is a backend whose server can only be told of bindings by
// read-modify-write of one list, so that the engine must run the binds and
// unbinds of one instance one at a time.
type SerialBinder interface {
	SerialBinds() bool
}

// Closer is a backend that holds connections.
type Closer interface {
	Close() error
}
