package state

// Limits are what a plan allows one namespace: the column limits of namespaces.
type Limits struct {
	// Plan is what metrics call the plan.
	Plan string `json:"plan"`

	// MemoryBytes, TimeoutMillis and LogBytes are the most that an action may
	// ask for; memory and logs are whole megabytes (2^20).
	MemoryBytes   int64 `json:"memory_bytes"`
	TimeoutMillis int64 `json:"timeout_ms"`
	LogBytes      int64 `json:"log_bytes"` // of one activation

	CodeBytes    int64 `json:"code_bytes"`    // of one action
	PayloadBytes int64 `json:"payload_bytes"` // of parameters and of a result, each

	// Concurrency is how many activations of the namespace run at a time.
	Concurrency          int64 `json:"concurrency"`
	InvocationsPerMinute int64 `json:"invocations_per_minute"`
	FiresPerMinute       int64 `json:"fires_per_minute"`

	// SequenceLength is how many actions one invocation of a sequence runs.
	SequenceLength int64 `json:"sequence_length"`
	// Actions, Triggers, Rules and Packages are how many there may be.
	Actions  int64 `json:"actions"`
	Triggers int64 `json:"triggers"`
	Rules    int64 `json:"rules"`
	Packages int64 `json:"packages"`

	// RetentionSeconds is how long activations are kept, ActivationBytes how
	// much all of them may take; the oldest go first.
	RetentionSeconds int64 `json:"retention_s"`
	ActivationBytes  int64 `json:"activation_bytes"`

	// MessageAttempts is how often a message of a feed is delivered before it
	// is a dead letter, DeadLetters how many of those are kept a trigger.
	MessageAttempts int64 `json:"message_attempts"`
	DeadLetters     int64 `json:"dead_letters"`
}

// Mount is a folder of another instance that a namespace's guests see: an element
// of the column mounts of namespaces.
type Mount struct {
	// Instance is the platform's identifier of the instance that the folder
	// belongs to.
	Instance string `json:"instance"`
	// Path is where guests see it: absolute and clean.
	Path string `json:"path"`
	// Folder is where it is on the machine of the runtime.
	Folder   string `json:"folder"`
	ReadOnly bool   `json:"read_only"`

	// What tells this folder from another one of the same name that was made
	// after it was deleted (sandbox.Identity).
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Born is when it was made, in nanoseconds since 1970; 0 where the file
	// system does not know.
	Born int64 `json:"born"`
}

// Roles of keys, as the database spells them.
const (
	// ReadWrite may do all that OpenWhisk's API can.
	ReadWrite = "read_write"
	// Invoke may read entities and activations, invoke actions and fire
	// triggers, and change nothing.
	Invoke = "invoke"
)
