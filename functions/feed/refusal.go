package feed

import (
	"encoding/json"
	"fmt"
)

// Refusal is what a feed's action answers where it does not do what it was asked:
// the caller's to mend. Its text holds no secret.
type Refusal struct{ Message string }

// Error implements error.
func (r *Refusal) Error() string { return r.Message }

// Result is the result of the activation: {"error": {"error": Message}}, which is
// where OpenWhisk's package alarms has it.
func (r *Refusal) Result() json.RawMessage {
	raw, err := json.Marshal(map[string]any{"error": map[string]string{"error": r.Message}})
	if err != nil {
		panic(err) // a string always encodes
	}
	return raw
}

func refuse(format string, args ...any) error {
	return &Refusal{Message: fmt.Sprintf(format, args...)}
}
