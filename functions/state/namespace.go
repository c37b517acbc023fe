package state

// Limits are a plan's limits of a namespace: the column limits of namespaces.
type Limits struct {
	Plan string `json:"plan"` // its name in metrics

	// MemoryBytes, TimeoutMillis and LogBytes are the maxima that an action may request;
	// memory and logs are whole megabytes (2^20).
	MemoryBytes   int64 `json:"memory_bytes"`
	TimeoutMillis int64 `json:"timeout_ms"`
	LogBytes      int64 `json:"log_bytes"` // of one activation

	CodeBytes    int64 `json:"code_bytes"`    // of one action
	PayloadBytes int64 `json:"payload_bytes"` // of parameters and of a result, each

	Concurrency          int64 `json:"concurrency"` // activations at a time
	InvocationsPerMinute int64 `json:"invocations_per_minute"`
	FiresPerMinute       int64 `json:"fires_per_minute"`

	SequenceLength int64 `json:"sequence_length"` // actions that one invocation of a sequence runs
	// Actions, Triggers, Rules and Packages are maximum numbers.
	Actions  int64 `json:"actions"`
	Triggers int64 `json:"triggers"`
	Rules    int64 `json:"rules"`
	Packages int64 `json:"packages"`

	// Activations are deleted after RetentionSeconds, and the oldest beyond ActivationBytes.
	RetentionSeconds int64 `json:"retention_s"`
	ActivationBytes  int64 `json:"activation_bytes"`

	MessageAttempts int64 `json:"message_attempts"` // before a message becomes a dead letter
	DeadLetters     int64 `json:"dead_letters"`     // stored for each trigger
}

// Mount is a folder of another instance that a namespace's guests can use: an element of
// the column mounts of namespaces.
type Mount struct {
	Instance string `json:"instance"` // the platform's ID of the folder's instance
	Path     string `json:"path"`     // in guests: absolute and clean
	Folder   string `json:"folder"`   // on the runtime's machine
	ReadOnly bool   `json:"read_only"`

	// Device, Inode and Born distinguish this folder from a later one with its name
	// (sandbox.Identity).
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	Born   int64  `json:"born"` // nanoseconds since 1970; 0 if the file system does not record it
}

// Roles of keys, as the database spells them.
const (
	ReadWrite = "read_write" // everything in OpenWhisk's API
	Invoke    = "invoke"     // read entities and activations, invoke actions, fire triggers
)
