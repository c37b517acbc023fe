package openwhisk

import (
	"regexp"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend allows one namespace. Nothing is above what Apache
// OpenWhisk allows by default, so that what fits here fits there.
type Plan struct {
	// Label is what the runtimes' metrics call the plan.
	Label string `json:"label"`

	// Memory, Timeout and Logs are the most that an action may ask for.
	Memory  services.Size     `json:"memory"`
	Timeout services.Duration `json:"timeout"`
	Logs    services.Size     `json:"logs"`
	// Code is how large an action's code may be.
	Code services.Size `json:"code"`
	// Payload is how large parameters, and a result, may be.
	Payload services.Size `json:"payload"`

	// Concurrency is how many activations of a namespace run at a time.
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

	// Retention is how long activations are retained, ActivationStorage how
	// much all of them may take; the oldest are deleted first.
	Retention         services.Duration `json:"retention"`
	ActivationStorage services.Size     `json:"activation_storage"`

	// MessageAttempts is how often a message of a feed is delivered before it is a dead
	// letter, DeadLetters how many of those a trigger retains.
	MessageAttempts int64 `json:"message_attempts"`
	DeadLetters     int64 `json:"dead_letters"`
}

// SetDefaults implements services.Defaulter: OpenWhisk's own, where it has some.
func (p *Plan) SetDefaults() {
	*p = Plan{
		Label:  "default",
		Memory: 256 * services.Megabyte, Timeout: services.Duration(time.Minute), Logs: services.Megabyte,
		Code: 48 * services.Megabyte, Payload: services.Megabyte,
		Concurrency: 100, InvocationsPerMinute: 120, FiresPerMinute: 60,
		SequenceLength: 50, Actions: 100, Triggers: 50, Rules: 100, Packages: 50,
		Retention: services.Duration(7 * 24 * time.Hour), ActivationStorage: 100 * services.Megabyte,
		MessageAttempts: 5, DeadLetters: 1000,
	}
}

const (
	maxMinutes = 1 << 30
	maxThings  = 10_000
	year       = services.Duration(365 * 24 * time.Hour)
)

var labelRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// Validate implements services.Validator. The runtimes' administration API has the same
// rules; here an operator learns of faults when the catalog is read.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(!labelRule.MatchString(p.Label), "label: must be 1 to 64 of A-Z, a-z, 0-9 and ._- and begin with a letter or digit")
	f.If(p.Memory < 16*services.Megabyte || p.Memory > 512*services.Megabyte || p.Memory%services.Megabyte != 0, "memory: must be %s, whole megabytes from 16MB to 512MB", services.SizeForm)
	f.If(p.Timeout < services.Duration(100*time.Millisecond) || p.Timeout > services.Duration(5*time.Minute), "timeout: must be %s, from 100ms to 5m", services.DurationForm)
	f.If(p.Logs < services.Megabyte || p.Logs > 10*services.Megabyte || p.Logs%services.Megabyte != 0, "logs: must be %s, whole megabytes from 1MB to 10MB", services.SizeForm)
	f.If(p.Code < services.Kilobyte || p.Code > 48*services.Megabyte, "code: must be %s, from 1kB to 48MB", services.SizeForm)
	f.If(p.Payload < services.Kilobyte || p.Payload > services.Megabyte, "payload: must be %s, from 1kB to 1MB", services.SizeForm)
	f.If(p.Retention < services.Duration(time.Minute) || p.Retention > year, "retention: must be %s, from 1m to 8760h", services.DurationForm)
	f.If(p.ActivationStorage < services.Megabyte || p.ActivationStorage > 100*services.Gigabyte, "activation_storage: must be %s, from 1MB to 100GB", services.SizeForm)
	check.Range(&f, "concurrency", p.Concurrency, 1, 1000)
	check.Range(&f, "invocations_per_minute", p.InvocationsPerMinute, 1, maxMinutes)
	check.Range(&f, "fires_per_minute", p.FiresPerMinute, 1, maxMinutes)
	check.Range(&f, "sequence_length", p.SequenceLength, 1, 50)
	check.Range(&f, "actions", p.Actions, 1, maxThings)
	check.Range(&f, "triggers", p.Triggers, 0, maxThings)
	check.Range(&f, "rules", p.Rules, 0, maxThings)
	check.Range(&f, "packages", p.Packages, 0, maxThings)
	check.Range(&f, "message_attempts", p.MessageAttempts, 1, 100)
	check.Range(&f, "dead_letters", p.DeadLetters, 0, 1_000_000)
	return f.Err()
}

// limits is the plan in the words of the administration API.
type limits map[string]any

func (p Plan) limits() limits {
	return limits{
		"plan":         p.Label,
		"memory_bytes": int64(p.Memory), "timeout_ms": time.Duration(p.Timeout).Milliseconds(), "log_bytes": int64(p.Logs),
		"code_bytes": int64(p.Code), "payload_bytes": int64(p.Payload),
		"concurrency": p.Concurrency, "invocations_per_minute": p.InvocationsPerMinute, "fires_per_minute": p.FiresPerMinute,
		"sequence_length": p.SequenceLength, "actions": p.Actions, "triggers": p.Triggers, "rules": p.Rules, "packages": p.Packages,
		"retention_s": int64(time.Duration(p.Retention).Seconds()), "activation_bytes": int64(p.ActivationStorage),
		"message_attempts": p.MessageAttempts, "dead_letters": p.DeadLetters,
	}
}
