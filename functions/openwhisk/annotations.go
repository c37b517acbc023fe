package openwhisk

import (
	"bytes"
	"encoding/json"
	"net/http"
)

const (
	// lockAnnotation, true, protects an action from changes and deletion.
	lockAnnotation = "lock"
	// conductorAnnotation makes an action the conductor of a composition.
	conductorAnnotation = "conductor"
)

func locked(what string) error {
	return refuse(http.StatusForbidden, "this action can't be %s until %s annotation is updated to false", what, lockAnnotation)
}

// checkUnlocked refuses to change a locked action, unless the same request unlocks it.
func checkUnlocked(previous action, put actionPut) error {
	if previous.annotations.is(lockAnnotation) && string(put.Annotations.values.get(lockAnnotation)) != "false" {
		return locked("updated")
	}
	return nil
}

// checkConductor refuses compositions: run as a plain action, a conductor would return
// the name of its next action instead of calling it. A sequence ignores the annotation,
// as in OpenWhisk.
func checkConductor(x action) error {
	if x.kind != sequenceKind && truthy(x.annotations.get(conductorAnnotation)) {
		return refuse(http.StatusBadRequest, "Annotation '%s' is not supported: this platform runs no compositions. Use a sequence, or call the actions from one action.", conductorAnnotation)
	}
	return nil
}

// truthy says whether a value counts as true (Parameters.isTruthy): all but false, 0, ""
// and null do.
func truthy(raw json.RawMessage) bool {
	switch text := string(bytes.TrimSpace(raw)); text {
	case "", "false", "null", `""`:
		return false
	default:
		var number float64
		return json.Unmarshal(raw, &number) != nil || number != 0
	}
}
