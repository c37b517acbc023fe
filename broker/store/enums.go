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
	// Recover makes an instance anew that its server has lost, from a backup, and binds its
	// bindings again. Only the operator begins it.
	Recover Kind = "recover"
)

// Kinds returns all kinds of operations.
func Kinds() []Kind {
	return []Kind{Provision, Update, Deprovision, Bind, Unbind, SoftDelete, Expire, Recover}
}

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

// The actions on backups in the audit record, whose resource is the backup's ID. Schedules
// and users begin them, too.
const (
	ActionBackup       Action = "backup"
	ActionRestoreData  Action = "restore backup"
	ActionVerify       Action = "verify backup"
	ActionDeleteBackup Action = "delete backup"
	ActionImportBackup Action = "import backup"
)

// OperatorActions returns the operator's commands in the audit record.
func OperatorActions() []Action {
	return []Action{ActionRetry, ActionForget, ActionRestore, ActionAdopt, ActionRemove}
}

// BackupActions returns the actions on backups in the audit record.
func BackupActions() []Action {
	return []Action{ActionBackup, ActionRestoreData, ActionVerify, ActionDeleteBackup, ActionImportBackup}
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

// Origin is why a backup was made.
type Origin string

// The origins of backups.
const (
	BySchedule Origin = "schedule"
	ByUser     Origin = "user"
	ByOperator Origin = "operator"
	ForClone   Origin = "clone" // deleted once its clone is made
)

// Origins returns all origins of backups.
func Origins() []Origin { return []Origin{BySchedule, ByUser, ByOperator, ForClone} }

// BackupState is what a backup is fit for.
type BackupState string

// The states of backups.
const (
	BackupPending  BackupState = "pending"
	BackupReady    BackupState = "ready"
	BackupFailed   BackupState = "failed"
	BackupDeleting BackupState = "deleting"
)

// BackupStates returns all states of backups.
func BackupStates() []BackupState {
	return []BackupState{BackupPending, BackupReady, BackupFailed, BackupDeleting}
}

// CopyKind is the work on a backup.
type CopyKind string

// The kinds of copies.
const (
	CopyBackup  CopyKind = "backup"
	CopyRestore CopyKind = "restore"
	CopyVerify  CopyKind = "verify"
)

// CopyKinds returns all kinds of copies.
func CopyKinds() []CopyKind { return []CopyKind{CopyBackup, CopyRestore, CopyVerify} }

// CopyState says what has to happen next to a copy.
type CopyState string

// The states of copies.
const (
	CopyHeld      CopyState = "held"    // its operation prepares the instance
	CopyWaiting   CopyState = "waiting" // a replica may begin it
	CopyRunning   CopyState = "running"
	CopyUnclean   CopyState = "unclean" // its operation empties the instance after a restore that failed
	CopySucceeded CopyState = "succeeded"
	CopyFailed    CopyState = "failed"
	CopyCancelled CopyState = "cancelled"
)
