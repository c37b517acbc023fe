package services

import "context"

// The interfaces in this file are a backend's capabilities, which it may implement.
// newDriver collects them.

// Readier is a backend that can check its server.
type Readier interface {
	// Ready returns nil when the server would accept work now.
	Ready(ctx context.Context) error
}

// Lister is a backend that can list what exists on its server, for finding drift.
type Lister interface {
	// List returns every instance and every binding of this backend that exists,
	// complete or not.
	List(ctx context.Context) ([]Resource, error)
}

// Resource exists on a backend's server.
type Resource struct {
	// Instance is the Instance.Name that the resource belongs to; empty if the server
	// knows only the binding's.
	Instance string
	// Binding is the Binding.Name; empty for the instance itself.
	Binding string
	// Name is the name on the server, for the operator to look up.
	Name string
	// Leftover says that this remains of an instance or binding that no longer exists.
	Leftover bool
}

// UpdateChecker is a backend that can refuse an update before the broker accepts it.
type UpdateChecker[P, I any] interface {
	// CheckUpdate returns an error built by Rejected if the update is impossible. It
	// makes no outside call.
	CheckUpdate(r UpdateRequest[P, I]) error
}

// InstanceChecker is a backend whose plans restrict parameters in ways that a schema
// cannot express.
type InstanceChecker[P, I any] interface {
	// CheckInstance returns an error built by Rejected if the plan does not allow the
	// parameters. It makes no outside call.
	CheckInstance(inst Instance[P, I]) error
}

// PlanChecker is a backend whose servers may lack what a plan offers.
type PlanChecker[P any] interface {
	// CheckPlan returns an error if instances of the plan cannot be made on this server, as
	// it is configured. The broker does not start then. It makes no outside call, but may
	// look at this machine.
	CheckPlan(plan P) error
}

// Reconciler is a backend that enforces in the background what its server does not
// enforce, or keeps spare resources ready.
type Reconciler[P, I any] interface {
	// Reconcile is called every few seconds, by one replica at a time, and after a
	// provision if the result asks for it. Operations on the same instances may run at
	// the same time. An error concerns the whole server; the result contains that of an
	// instance, so that the broker still records the others' conditions.
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
	// conditions of others do not change.
	Instances map[string]InstanceResult
	// AfterProvision asks for a call after each provision, which may have used a spare
	// resource.
	AfterProvision bool
}

// InstanceResult is what Reconcile found out about one instance. The zero value says that
// nothing is wrong.
type InstanceResult struct {
	// Condition is shown to the instance's user.
	Condition Condition
	// Err is what went wrong, for the operator's log.
	Err error
}

// Record adds an instance's result. It ignores a condition without a message.
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

// LimitsNotEnforced is the condition of an instance whose limits could not be enforced.
// Its error says why.
func LimitsNotEnforced() Condition {
	return Condition{Reason: Inaccessible, Message: "the plan's limits cannot be enforced at the moment; if this stays so, ask your operator, whose log says why"}
}

// Space is an amount of a server's resources in bytes; 0 is an unknown amount.
type Space struct{ Storage, Memory Size }

// FootprintReporter is a backend whose plans limit what an instance can take of its
// server.
type FootprintReporter[P any] interface {
	// Footprint returns the most that an instance of the plan can take. It makes no
	// outside call.
	Footprint(plan P) Space
}

// CapacityReporter is a backend that can tell its server's capacity.
type CapacityReporter interface {
	// Capacity returns how much the server has.
	Capacity(ctx context.Context) (Capacity, error)
}

// Capacity is what a server has in total, and how much of it is free.
type Capacity struct{ Free, Total Space }

// Describer is a backend that can tell users about an instance, beside its credentials.
type Describer[P, I any] interface {
	// Describe returns the attributes of an instance that is ready (OSB, "Service
	// Instance Metadata Object"): values of JSON's types, without secrets. It changes
	// nothing.
	Describe(ctx context.Context, inst Instance[P, I]) (map[string]any, error)
}

// Adopter is a backend that can give an instance a resource that others made on its
// server.
type Adopter[P, I any] interface {
	// Adopt replaces the instance's own, unused resource (the instance is new and has no
	// bindings) by r.Resource. An error built by Rejected says what the operator has to
	// do first, and that nothing was changed. Repeated after a crash, Adopt continues.
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

// Verifier is a backend whose applications can break their own credentials, for
// example by changing a password.
type Verifier[P, I, B any] interface {
	// Verify makes the credentials that Bind returned work again if they do not. The
	// engine calls it when a bind is repeated or fetched, and periodically; if
	// nothing is wrong, it costs a round trip or two. It does not create a binding
	// that does not exist.
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
	// ResourceName is the name that List returns for the instance itself; empty if it
	// is unknown. It makes no outside call.
	ResourceName(inst Instance[P, I]) string
}

// DirectoryProvider is a backend whose instances are directories that programs on this
// machine may use.
type DirectoryProvider[P, I any] interface {
	// Directory returns the absolute path of the directory that holds the
	// instance's files. It changes nothing.
	Directory(ctx context.Context, inst Instance[P, I]) (string, error)
}

// Mounter is a backend whose instances use directories of DirectoryProviders' instances.
// The engine finds those: they must be ready and belong to the same platform,
// organization and space.
type Mounter[I any] interface {
	// MountedInstances returns the IDs of the instances that the parameters name. It
	// makes no outside call.
	MountedInstances(params I) []string
}

// SerialBinder is a backend whose server has the bindings of an instance in one list that is
// read, modified and written: the engine must run its binds and unbinds one at a time.
type SerialBinder interface {
	SerialBinds() bool
}

// Closer is a backend that holds connections.
type Closer interface {
	Close() error
}
