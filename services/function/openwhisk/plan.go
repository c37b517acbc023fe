package openwhisk

import (
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend allows one namespace. The runtimes decide which
// values are valid.
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

// Validate implements services.Validator. It checks only how the values are written.
func (p *Plan) Validate() error {
	var f check.Faults
	f.Size("memory", p.Memory, services.Kilobyte)
	f.Size("logs", p.Logs, services.Kilobyte)
	f.Size("code", p.Code, services.Kilobyte)
	f.Size("payload", p.Payload, services.Kilobyte)
	f.Size("activation_storage", p.ActivationStorage, services.Kilobyte)
	f.If(p.Timeout < 0, "timeout: must be %s", services.DurationForm)
	f.If(p.Retention < 0, "retention: must be %s", services.DurationForm)
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
