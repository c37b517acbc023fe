package openwhisk

import (
	"context"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/functions/state"
)

// findActivation reads the activation that the path names. One that still runs is
// not there yet.
func (a *API) findActivation(c *call) (*record, error) {
	raw := mux.Vars(c.Request)["id"]
	if len(raw) != activationIDLength {
		return nil, refuse(http.StatusBadRequest, "activation id length is %d but must be %d.", len(raw), activationIDLength)
	}
	bytes, err := hex.DecodeString(raw)
	if err != nil {
		return nil, errActivationID
	}
	id := uuid.UUID(bytes)
	if r := a.recorder.find(c.namespace, id); r != nil {
		return r, nil
	}
	row, err := a.Store.Activation(c.Context(), a.Store.Pool, state.ActivationParams{Namespace: c.namespace, ID: id})
	if state.NotFound(err) {
		return nil, errNotFound
	}
	if err != nil {
		return nil, err
	}
	return storedRecord(row), nil
}

// getActivation serves GET /activations/{id}.
func (a *API) getActivation(c *call) error {
	r, err := a.findActivation(c)
	if err != nil {
		return err
	}
	return c.ok(r.document())
}

// getResult serves GET /activations/{id}/result.
func (a *API) getResult(c *call) error {
	r, err := a.findActivation(c)
	if err != nil {
		return err
	}
	return c.ok(r.response())
}

// getLogs serves GET /activations/{id}/logs.
func (a *API) getLogs(c *call) error {
	r, err := a.findActivation(c)
	if err != nil {
		return err
	}
	return c.ok(map[string]any{"logs": r.document().Logs})
}

// filter says which activations are asked for.
type filter struct {
	page
	docs         bool
	path         string // of what was activated, with its package; empty: all
	since, until time.Time
}

// readFilter reads name, since, upto and docs besides what all lists have.
func (c *call) readFilter() (filter, error) {
	var f filter
	var err error
	if f.page, err = c.page("activations"); err != nil {
		return f, err
	}
	if f.docs, err = c.flag("docs", false); err != nil {
		return f, err
	}
	if f.docs && f.count {
		return f, errDocsWithCount
	}
	if f.path, err = c.nameFilter(); err != nil {
		return f, err
	}
	if f.since, err = c.epoch("since", time.UnixMilli(0)); err != nil {
		return f, err
	}
	f.until, err = c.epoch("upto", farFuture)
	return f, err
}

// farFuture is later than any activation, and what PostgreSQL can still hold.
var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// nameFilter reads "name" or "package/name".
func (c *call) nameFilter() (string, error) {
	raw := c.URL.Query().Get("name")
	if strings.TrimSpace(raw) == "" {
		return "", nil
	}
	parts := strings.Split(raw, "/")
	for _, part := range parts {
		if len(parts) > 2 || !validName(part) {
			return "", refuse(http.StatusBadRequest, "Parameter may be a 'simple' name or 'package-name/simple' name: %s", raw)
		}
	}
	return raw, nil
}

// epoch reads a time in milliseconds since 1970.
func (c *call) epoch(name string, initial time.Time) (time.Time, error) {
	raw := c.URL.Query().Get(name)
	if raw == "" {
		return initial, nil
	}
	ms, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return initial, refuse(http.StatusBadRequest, "Parameter is not a valid value for epoch seconds: %s", raw)
	}
	return time.UnixMilli(min(max(ms, 0), farFuture.UnixMilli())), nil
}

// listActivations serves GET /activations. What this runtime has not written yet
// it writes first.
func (a *API) listActivations(c *call) error {
	f, err := c.readFilter()
	if err != nil {
		return err
	}
	if err := a.recorder.settle(c.Context(), c.namespace); err != nil {
		return err
	}
	if f.count {
		n, err := a.Store.CountActivations(c.Context(), a.Store.Pool, state.CountActivationsParams{
			Namespace: c.namespace, Path: f.path, Since: f.since, Upto: f.until,
		})
		if err != nil {
			return err
		}
		return c.counted("activations", n, f.page)
	}
	if f.docs {
		return a.listRecords(c, f)
	}
	rows, err := a.Store.ListActivations(c.Context(), a.Store.Pool, f.params(c.namespace))
	if err != nil {
		return err
	}
	return listed(c, rows, func(row state.ListActivationsRow) activationSummary { return listedRecord(row).summary() })
}

func (f filter) params(namespace string) state.ListActivationsParams {
	return state.ListActivationsParams{
		Namespace: namespace, Docs: f.docs, Path: f.path, Since: f.since, Upto: f.until, Batch: f.limit, Skip: f.skip,
	}
}

// recordCopies is how often a record is in memory while a list of it is made: as the
// database has it, decoded, and as the answer has it.
const recordCopies = 3

// listRecords answers with results and logs, which may be hundreds of megabytes:
// all such lists together take Options.Lists.
func (a *API) listRecords(c *call, f filter) error {
	p := f.params(c.namespace)
	bytes, err := a.Store.ActivationBytes(c.Context(), a.Store.Pool, state.ActivationBytesParams{
		Namespace: p.Namespace, Path: p.Path, Since: p.Since, Upto: p.Upto, Batch: p.Batch, Skip: p.Skip,
	})
	if err != nil {
		return err
	}
	weight := min(recordCopies*bytes, a.Lists)
	ctx, cancel := context.WithTimeout(c.Context(), listPatience)
	defer cancel()
	if err := a.lists.Acquire(ctx, weight); err != nil {
		return errOverload
	}
	defer a.lists.Release(weight)
	rows, err := a.Store.ListActivations(c.Context(), a.Store.Pool, p)
	if err != nil {
		return err
	}
	// Whoever reads slowly keeps others from the memory for no longer than this.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(listPatience)) // a server that cannot has no deadlines
	return listed(c, rows, func(row state.ListActivationsRow) activationDocument { return listedRecord(row).document() })
}

// listPatience is how long a list with results and logs waits for memory, and may
// then take to be sent.
const listPatience = 30 * time.Second

func listedRecord(row state.ListActivationsRow) *record {
	return storedRecord(state.Activation{
		Namespace: row.Namespace, ID: row.ID, Name: row.Name, Path: row.Path, Version: row.Version, Subject: row.Subject, Cause: row.Cause,
		StartedAt: row.StartedAt, EndedAt: row.EndedAt, DurationMs: row.DurationMs, Status: row.Status,
		Result: row.Result, Logs: row.Logs, Annotations: row.Annotations,
	})
}
