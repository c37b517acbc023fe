package feed

import (
	"context"
	"encoding/json"
	"errors"
)

// Event is one reason to fire a trigger.
type Event struct {
	Namespace, Trigger string
	// Payload is a JSON object: the parameters of the trigger's actions.
	Payload json.RawMessage
	// ID is 32 hexadecimal characters that are this event's alone, and the same
	// when it is fired again.
	ID string
}

// Fired is what came of an event.
type Fired struct {
	// Activation is the trigger's; empty where no rule was active.
	Activation string
	// Rules is how many rules were active, Failed how many of their actions did
	// not succeed.
	Rules, Failed int
	// Results are what the actions that succeeded answered, each a JSON object,
	// in the order of the rules.
	Results []json.RawMessage
}

// Firer fires triggers.
type Firer interface {
	// Fire fires the trigger and returns when the actions of all its active rules
	// have ended. An action that failed is no error. Errors are ErrNoTrigger,
	// ErrTooLarge and ErrThrottled, and others where the runtime is at fault.
	Fire(ctx context.Context, e Event) (Fired, error)
}

// Why a trigger was not fired; whoever implements Firer wraps them.
var (
	// ErrNoTrigger says that there is no such trigger.
	ErrNoTrigger = errors.New("the trigger does not exist")
	// ErrTooLarge says that the payload is larger than the plan has it.
	ErrTooLarge = errors.New("the payload is too large")
	// ErrThrottled says that the namespace fires more than the plan has it.
	ErrThrottled = errors.New("the namespace has reached a limit of its plan")
)
