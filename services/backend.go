// Package services is the contract between the broker and the code that makes one kind of
// resource, a backend. A backend is one folder below this package; the suite in servicetest
// checks each of them against this contract.
package services

import "context"

// Backend makes, changes and removes the resources of one kind.
//
// P is the plan's own configuration, I the user's parameters of an instance and B the
// user's parameters of a binding. All three arrive decoded, defaulted and validated.
//
// Every method converges: called again after success, after failure or after a crash
// half-way, it leaves the same one result. Names of outside resources derive from
// Instance.Name and Binding.Name alone, so a backend keeps no state. The engine makes one
// call at a time for an instance's own verbs; Bind and Unbind of different bindings of
// one instance run side by side, unless the backend is a SerialBinder.
//
// A method does not wait in a loop: it returns NotYet and is called again. An error
// built by Rejected is final and shown to the user. The engine retries after any other
// error until the operation's deadline; one built by OutOfCapacity tells the user why.
//
// ctx ends after 30 s at the latest, and sooner if the operation is cancelled. The method
// then returns within seconds, even if the server does not answer. Writes run to
// completion first (RunToCompletion): an abandoned write could land after its own undo.
type Backend[P, I, B any] interface {
	// Provision makes the instance's resources.
	Provision(ctx context.Context, r ProvisionRequest[P, I]) (ProvisionResult, error)
	// Update turns r.Previous into r.Instance. The engine undoes an update that
	// failed half-way by a call with the two exchanged.
	Update(ctx context.Context, r UpdateRequest[P, I]) (UpdateResult, error)
	// Deprovision removes everything that Provision and Bind made, data included.
	// It succeeds if that is absent.
	Deprovision(ctx context.Context, r DeprovisionRequest[P, I]) (DeprovisionResult, error)
	// Bind makes a credential for this binding only. Its secrets derive from the
	// binding's seed, so that a repeated call makes the same credential.
	Bind(ctx context.Context, r BindRequest[P, I, B]) (BindResult, error)
	// Unbind revokes the credential and cuts its live sessions. It does not affect
	// the instance's data and other bindings. It succeeds if the credential is absent.
	Unbind(ctx context.Context, r UnbindRequest[P, I, B]) (UnbindResult, error)
}

// The requests and results of the verbs are structs, so that an argument or a result can
// be added without a change to every backend. By the embedded Instance and Binding a Driver
// knows what a call is about.
type (
	// ProvisionRequest is the argument of Provision.
	ProvisionRequest[P, I any] struct {
		Instance[P, I]
		// RestoreFrom is the backup of a BackupHolder from which the new instance gets its
		// data; nil: the instance is empty. The credentials in the backup do not work in the
		// new instance. Provision rejects a backup that does not exist.
		RestoreFrom *HeldBackup
	}
	// UpdateRequest is the argument of Update and CheckUpdate.
	UpdateRequest[P, I any] struct {
		Previous Instance[P, I]
		Instance[P, I]
		// Operation identifies the update: a repeated call has the same, and so has the
		// call that undoes it. A backend with Actions recognizes by it what it has done.
		// It is empty in CheckUpdate.
		Operation string
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
	// ID is the platform's identifier when the resource was made: any non-empty string
	// of at most 255 characters. A restored instance has another ID on its platform.
	// Use Name in names, never ID.
	ID string
	// Name is the safe name derived from ID: 26 characters, [a-z2-7].
	Name   string
	Plan   P
	Params I
	// Directories are those of a Mounter's MountedInstances, by instance ID, in
	// Provision and Update. A deleted instance has none.
	Directories map[string]string
}

func (i Instance[P, I]) instanceID() string { return i.ID }

// Binding is a service binding as a backend sees it.
type Binding[B any] struct {
	// ID is as in Instance.
	ID string
	// Name is the safe name derived from the instance's and the binding's ID: 26
	// characters, [a-z2-7].
	Name   string
	Params B
	// Seed is what the binding's secrets derive from. It is nil in Unbind.
	Seed *Seed
}

func (b Binding[B]) bindingID() string { return b.ID }
