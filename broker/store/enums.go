package store

// Kind is the verb of an operation.
type Kind string

// The kinds of operations.
const (
	Provision   Kind = "provision"
	Update      Kind = "update"
	Deprovision Kind = "deprovision"
	Bind        Kind = "bind"
	Unbind      Kind = "unbind"
	SoftDelete  Kind = "retire" // a deprovision that retains the data for a time
	Expire      Kind = "expire" // an unbind at the end of the binding's lifetime
)

// Kinds returns all kinds of operations.
func Kinds() []Kind { return []Kind{Provision, Update, Deprovision, Bind, Unbind, SoftDelete, Expire} }

// State says whether an operation has ended, and how.
type State string

// The states of operations.
const (
	InProgress State = "in progress"
	Succeeded  State = "succeeded"
	Failed     State = "failed"
)

// Phase is the direction in which an operation works.
type Phase string

// The phases of operations.
const (
	PhaseDo   Phase = "doing"
	PhaseUndo Phase = "undoing"
)

// Outcome is how an operation or an operator's command ended. It is empty until then.
type Outcome string

// The outcomes of operations, and those that only the audit record has.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeRejected  Outcome = "rejected"
	OutcomeTimedOut  Outcome = "timed_out"
	OutcomeCancelled Outcome = "cancelled"
	OutcomePreempted Outcome = "superseded"
	OutcomeFailed    Outcome = "failed" // of operations that an old release ended
	OutcomeRestored  Outcome = "restored"
	OutcomeForgotten Outcome = "forgotten"
)

// Outcomes returns those that operations can have.
func Outcomes() []Outcome {
	return []Outcome{OutcomeSucceeded, OutcomeRejected, OutcomeTimedOut, OutcomeCancelled, OutcomePreempted}
}

// Status is what an instance or a binding is fit for.
type Status string

// The statuses of instances and bindings.
const (
	Creating     Status = "creating"
	Ready        Status = "ready"
	CreateFailed Status = "create_failed"
	DeleteFailed Status = "delete_failed"
	Retained     Status = "kept"    // an instance that the platform deleted and that can be restored
	Expired      Status = "expired" // a binding that the engine has revoked
	Deleted      Status = "deleted" // in no row: an instance that only the audit record has
)

// Action is what an audit record is about: an operation's kind, or an operator's command.
type Action string

// The operator's commands in the audit record.
const (
	ActionRetry   Action = "retry"
	ActionRestore Action = "restore"
	ActionAdopt   Action = "adopt"
	ActionForget  Action = "forget"
	ActionRemove  Action = "remove"
)

// OperatorActions returns the operator's commands in the audit record.
func OperatorActions() []Action {
	return []Action{ActionRetry, ActionForget, ActionRestore, ActionAdopt, ActionRemove}
}

// Event is what an audit record says of its action.
type Event string

// The events of the audit record.
const (
	EventAccepted  Event = "accepted"
	EventSucceeded Event = "succeeded"
	EventFailed    Event = "failed"
	EventCancelled Event = "cancelled"
)
