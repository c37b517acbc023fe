package services

import (
	"context"
	"encoding/json"
)

type (
	// RawInstance is an instance as the broker has it: with the plan decoded when the
	// catalog was read, and the parameters from the state.
	RawInstance = Instance[Plan, json.RawMessage]
	// RawBinding is a binding as the broker has it.
	RawBinding = Binding[json.RawMessage]

	// RawProvision is the request of Driver.Provision.
	RawProvision = ProvisionRequest[Plan, json.RawMessage]
	// RawUpdate is the request of Driver.Update and Driver.CheckUpdate.
	RawUpdate = UpdateRequest[Plan, json.RawMessage]
	// RawDeprovision is the request of Driver.Deprovision.
	RawDeprovision = DeprovisionRequest[Plan, json.RawMessage]
	// RawBind is the request of Driver.Bind.
	RawBind = BindRequest[Plan, json.RawMessage, json.RawMessage]
	// RawUnbind is the request of Driver.Unbind.
	RawUnbind = UnbindRequest[Plan, json.RawMessage, json.RawMessage]
	// RawVerify is the request of Driver.Verify.
	RawVerify = VerifyRequest[Plan, json.RawMessage, json.RawMessage]
	// RawReconcile is the request of Driver.Reconcile.
	RawReconcile = ReconcileRequest[Plan, json.RawMessage]
	// RawAdopt is the request of Driver.Adopt.
	RawAdopt = AdoptRequest[Plan, json.RawMessage]
	// RawBackup is the request of Driver.Backup.
	RawBackup = BackupRequest[Plan, json.RawMessage]
	// RawRestore is the request of Driver.Restore.
	RawRestore = RestoreRequest[Plan, json.RawMessage]
	// RawCreateBackup is the request of Driver.CreateBackup.
	RawCreateBackup = CreateBackupRequest[Plan, json.RawMessage]
)

// Call is a function of a Driver.
type Call[Req, Res any] func(ctx context.Context, r Req) (Res, error)

// OrZero makes the call. Its result is zero if the backend does not implement the call.
func (c Call[Req, Res]) OrZero(ctx context.Context, r Req) (result Res, err error) {
	if c == nil {
		return result, nil
	}
	return c(ctx, r)
}

// None is the request of a call without a request, or the result of one without a result.
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

	// CheckInstance, CheckUpdate and CheckBinding decode the parameters, and ask a
	// backend that is an InstanceChecker or UpdateChecker. The user can fix the errors.
	CheckInstance Call[RawInstance, None]
	CheckUpdate   Call[RawUpdate, None]
	CheckBinding  Call[json.RawMessage, None]

	Capabilities

	// SerialBinds is that of a SerialBinder.
	SerialBinds bool
	// Increments is that of an Incrementer.
	Increments bool
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
	CheckPlan        Call[Plan, None]
	Footprint        Call[Plan, Space]
	Capacity         Call[None, Capacity]
	Backup           Call[RawBackup, Contents]
	Restore          Call[RawRestore, RestoreResult]
	CreateBackup     Call[RawCreateBackup, CreateBackupResult]
	ListBackups      Call[None, []HeldBackup]
	DeleteBackup     Call[HeldBackup, None]
}

// newDriver collects what a backend can do.
func newDriver[P, I, B any](c *connection, volumeMounts bool) *Driver {
	var d decoder[P, I, B]
	serial, ok := c.current.backend.(SerialBinder)
	incrementer, incremental := c.current.backend.(Incrementer)
	return &Driver{
		Provision:     remote(c, "provision", Backend[P, I, B].Provision, d.provision),
		Update:        remote(c, "update", Backend[P, I, B].Update, d.update),
		Deprovision:   remote(c, "deprovision", Backend[P, I, B].Deprovision, d.deprovision),
		Bind:          remote(c, "bind", Backend[P, I, B].Bind, d.bind),
		Unbind:        remote(c, "unbind", Backend[P, I, B].Unbind, d.unbind),
		CheckInstance: local(c, "check instance", checkInstance[P, I, B], d.instance),
		CheckUpdate:   local(c, "check update", checkUpdate[P, I, B], d.update),
		CheckBinding:  local(c, "check binding", checkBinding[P, I, B], parameters[B]),
		Capabilities: Capabilities{
			Ready:            remote(c, "ready", func(r Readier, ctx context.Context, none None) (None, error) { return none, r.Ready(ctx) }, same[None]),
			List:             remote(c, "list", requestless(Lister.List), same[None]),
			Reconcile:        remote(c, "reconcile", Reconciler[P, I].Reconcile, d.reconcile),
			Verify:           remote(c, "verify", Verifier[P, I, B].Verify, d.verify),
			ResourceName:     local(c, "resource name", infallible(Namer[P, I].ResourceName), d.lenientInstance),
			Describe:         remote(c, "describe", Describer[P, I].Describe, d.instance),
			Adopt:            remote(c, "adopt", Adopter[P, I].Adopt, d.adopt),
			Directory:        remote(c, "directory", DirectoryProvider[P, I].Directory, d.instance),
			MountedInstances: local(c, "mounted instances", infallible(Mounter[I].MountedInstances), d.params),
			CheckPlan:        local(c, "check plan", func(p PlanChecker[P], plan P) (None, error) { return None{}, p.CheckPlan(plan) }, d.plan),
			Footprint:        local(c, "footprint", infallible(FootprintReporter[P].Footprint), d.plan),
			Capacity:         remote(c, "capacity", requestless(CapacityReporter.Capacity), same[None]),
			Backup:           remote(c, "backup", Streamer[P, I].Backup, d.backup),
			Restore:          remote(c, "restore", Streamer[P, I].Restore, d.restore),
			CreateBackup:     remote(c, "create backup", BackupHolder[P, I].CreateBackup, d.createBackup),
			ListBackups:      remote(c, "list backups", requestless(BackupHolder[P, I].ListBackups), same[None]),
			DeleteBackup: remote(c, "delete backup", func(h BackupHolder[P, I], ctx context.Context, b HeldBackup) (None, error) {
				return None{}, h.DeleteBackup(ctx, b)
			}, same[HeldBackup]),
		},
		SerialBinds:  ok && serial.SerialBinds(),
		Increments:   incremental && incrementer.Increments(),
		VolumeMounts: volumeMounts,
		connection:   c,
	}
}

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

// CheckReady returns nil when the server would accept work now, and when the backend
// cannot tell.
func (d *Driver) CheckReady(ctx context.Context) error {
	_, err := d.Ready.OrZero(ctx, None{})
	return err
}

// Remove deprovisions or unbinds a Resource that no instance owns, only by its names.
func (d *Driver) Remove(ctx context.Context, r Resource) error {
	inst := RawInstance{Name: r.Instance}
	if r.Binding == "" {
		_, err := d.Deprovision(ctx, RawDeprovision{inst})
		return err
	}
	_, err := d.Unbind(ctx, RawUnbind{inst, RawBinding{Name: r.Binding}})
	return err
}
