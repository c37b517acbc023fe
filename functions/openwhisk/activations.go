package openwhisk

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/mux"

	"github.com/chandler-broker/chandler/functions/state"
)

// activation serves a view of an ended activation.
func (a *API) activation(view func(*record) any) func(*call) error {
	return func(c *call) error {
		r, err := a.findActivation(c)
		if err != nil {
			return err
		}
		return c.ok(view(r))
	}
}

// findActivation reads the activation that the path names.
func (a *API) findActivation(c *call) (*record, error) {
	raw := mux.Vars(c.Request)["id"]
	if len(raw) != activationIDLength {
		return nil, refuse(http.StatusBadRequest, "activation id length is %d but must be %d.", len(raw), activationIDLength)
	}
	bytes, err := hex.DecodeString(raw)
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "The activation id is not valid.")
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
	return newRecord(row), nil
}

type filter struct {
	page
	docs         bool
	path         string // of what was activated, with its package; empty selects all
	since, until time.Time
}

// readFilter reads name, since, upto, docs and the page.
func (c *call) readFilter() (filter, error) {
	q := c.query()
	f := filter{page: q.page("activations"), docs: q.flag("docs", false)}
	if f.docs && f.count {
		q.refuse("The parameter 'docs' is not permitted with 'count'.")
	}
	f.path, f.since, f.until = q.name(), q.epoch("since", time.UnixMilli(0)), q.epoch("upto", farFuture)
	return f, q.err
}

// farFuture is later than any activation, and within PostgreSQL's range.
var farFuture = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// listActivations serves GET /activations, after the records of this runtime are written.
func (a *API) listActivations(c *call) error {
	f, err := c.readFilter()
	if err != nil {
		return err
	}
	if err := a.recorder.flush(c.Context(), c.namespace); err != nil {
		return err
	}
	ctx, db := c.Context(), a.Store.Pool
	count := func() (int64, error) {
		return a.Store.CountActivations(ctx, db, state.CountActivationsParams{Namespace: c.namespace, Path: f.path, Since: f.since, Upto: f.until})
	}
	read := func() ([]state.ListActivationsRow, error) {
		return a.Store.ListActivations(ctx, db, state.ListActivationsParams{
			Namespace: c.namespace, Docs: f.docs, Path: f.path, Since: f.since, Upto: f.until, Batch: f.limit, Skip: f.skip,
		})
	}
	if !f.docs {
		return list(c, f.page, count, read, func(row state.ListActivationsRow) activationSummary {
			return newRecord(state.Activation(row)).summary()
		})
	}
	release, err := a.reserveList(c, f)
	if err != nil {
		return err
	}
	defer release()
	return list(c, f.page, count, read, func(row state.ListActivationsRow) activationDocument {
		return newRecord(state.Activation(row)).document()
	})
}

const (
	// listPatience limits how long a list with results and logs waits for memory, and how
	// long it may then take to be read and sent.
	listPatience = 30 * time.Second
	// recordCopies is how often such a list is in memory: as read, decoded, and as sent.
	recordCopies = 3
)

// reserveList reserves memory for a list with results and logs, which may be hundreds of
// megabytes. All such lists share Options.Lists.
func (a *API) reserveList(c *call, f filter) (release func(), err error) {
	bytes, err := a.Store.ActivationBytes(c.Context(), a.Store.Pool, state.ActivationBytesParams{
		Namespace: c.namespace, Path: f.path, Since: f.since, Upto: f.until, Batch: f.limit, Skip: f.skip,
	})
	if err != nil {
		return nil, err
	}
	weight := min(recordCopies*bytes, a.Lists)
	ctx, cancel := context.WithTimeout(c.Context(), listPatience)
	defer cancel()
	if err := a.lists.Acquire(ctx, weight); err != nil {
		return nil, errOverload
	}
	// A client that reads slowly must not keep the memory from others.
	_ = http.NewResponseController(c.w).SetWriteDeadline(time.Now().Add(listPatience)) // some servers have no deadlines
	return func() { a.lists.Release(weight) }, nil
}
