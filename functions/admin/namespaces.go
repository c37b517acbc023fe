package admin

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// namespace is the body of a PUT, and with the rest the answer to a GET.
type namespace struct {
	Limits json.RawMessage `json:"limits"`
	Mounts []Mount         `json:"mounts"`
}

type storedNamespace struct {
	Name string `json:"name"`
	namespace
	// EndingAt is when its deletion began.
	EndingAt  *time.Time `json:"ending_at,omitempty"`
	CreatedAt time.Time  `json:"created_at"`
	UpdatedAt time.Time  `json:"updated_at"`
}

func (a *api) listNamespaces(r *http.Request) (answer, error) {
	rows := func(after string, limit int32) ([]string, error) {
		return a.Store.NamespaceNames(r.Context(), a.Store.Pool, state.NamespaceNamesParams{After: after, Batch: limit})
	}
	return list(r, "namespaces", rows, func(name string) (string, any) { return name, map[string]string{"name": name} })
}

func (a *api) getNamespace(r *http.Request) (answer, error) {
	row, err := a.Store.Namespace(r.Context(), a.Store.Pool, r.PathValue("namespace"))
	if err != nil {
		return answer{}, notFoundIs(err, "namespace")
	}
	n := storedNamespace{Name: row.Name, EndingAt: row.EndingAt, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt}
	n.Limits = row.Limits
	if err := json.Unmarshal(row.Mounts, &n.Mounts); err != nil {
		return answer{}, err
	}
	return answer{http.StatusOK, n}, nil
}

func (a *api) putNamespace(r *http.Request) (answer, error) {
	name := r.PathValue("namespace")
	return a.change(r, name, func(ctx context.Context, tx pgx.Tx) error {
		row, err := readNamespace(r)
		if err != nil {
			return err
		}
		row.Name = name
		n, err := a.Store.PutNamespace(ctx, tx, row)
		if err == nil && n == 0 {
			return errEnding()
		}
		return err
	})
}

func errEnding() error {
	return problemf(http.StatusConflict, "ending", "namespace: is being deleted; repeat its deletion until it has ended")
}

func readNamespace(r *http.Request) (row state.PutNamespaceParams, err error) {
	var n namespace
	if err := decode(r, &n); err != nil {
		return row, err
	}
	limits, faults := readLimits(n.Limits)
	mounts, more := identifyAll(n.Mounts)
	if faults = append(faults, more...); len(faults) > 0 {
		return row, invalid(faults...)
	}
	if row.Limits, err = json.Marshal(limits); err != nil {
		return row, err
	}
	row.Mounts, err = json.Marshal(mounts)
	return row, err
}
