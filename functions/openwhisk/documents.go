package openwhisk

import (
	"time"

	"github.com/chandler-broker/chandler/functions/state"
)

// summary is what all entities show, and all that lists show of most.
type summary struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Annotations keyValues `json:"annotations"`
	Updated     int64     `json:"updated"` // ms since 1970
}

func newSummary(q qualified, version string, publish bool, annotations []byte, updated time.Time) summary {
	return summary{q.path(), q.name, version, publish, stored(annotations), updated.UnixMilli()}
}

// stored reads key-values that the runtime itself has written.
func stored(raw []byte) keyValues {
	var kvs keyValues
	if decodeJSON(raw, &kvs) != nil {
		return nil
	}
	return kvs
}

// place is where a sealed value of an entity belongs (state.Sealer).
func place(collection string, q qualified) string { return collection + "/" + q.String() }

func (a *API) seal(collection string, q qualified, parameters keyValues) []byte {
	return a.Sealer.Seal(place(collection, q), parameters.encode())
}

// unseal reads the parameters of an entity; none where the column is empty.
func (a *API) unseal(collection string, q qualified, sealed []byte) (keyValues, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	raw, err := a.Sealer.Open(place(collection, q), sealed)
	if err != nil {
		return nil, err
	}
	return stored(raw), nil
}

// action is an action as the database has it, without its code.
type action struct {
	qualified
	exec
	version     string
	publish     bool
	annotations keyValues
	parameters  keyValues
	limits      actionLimits
	updated     time.Time
}

func (a *API) newAction(row state.ActionRow) (action, error) {
	q := qualified{row.Namespace, row.Package, row.Name}
	parameters, err := a.unseal("actions", q, row.Parameters)
	return action{
		qualified: q, version: row.Version, publish: row.Publish, annotations: stored(row.Annotations), parameters: parameters, updated: row.UpdatedAt,
		exec:   exec{kind: row.Kind, main: row.Main, hash: row.CodeHash, components: row.Components},
		limits: actionLimits{int64(row.TimeoutMs), int64(row.MemoryMb), int64(row.LogsMb), 1},
	}, err
}

type actionDocument struct {
	summary
	Parameters keyValues    `json:"parameters"`
	Limits     actionLimits `json:"limits"`
	Exec       execDocument `json:"exec"`
}

func (x action) document(withCode bool) actionDocument {
	s := summary{x.path(), x.name, x.version, x.publish, x.annotations, x.updated.UnixMilli()}
	return actionDocument{s, x.parameters, x.limits, x.exec.document(withCode)}
}
