package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// entity is what actions, packages and triggers have in common.
type entity struct {
	qualified
	version     string
	publish     bool
	annotations keyValues
	parameters  keyValues
	updated     time.Time
}

func newEntity(q qualified, version string, publish bool, annotations []byte, updated time.Time) entity {
	return entity{qualified: q, version: version, publish: publish, annotations: decodeKeyValues(annotations), updated: updated}
}

// summary is what every answer contains, and all that most lists contain.
type summary struct {
	Namespace   string    `json:"namespace"`
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Publish     bool      `json:"publish"`
	Annotations keyValues `json:"annotations"`
	Updated     int64     `json:"updated"` // ms since 1970
}

func (e entity) summary() summary {
	return summary{e.path(), e.name, e.version, e.publish, e.annotations, e.updated.UnixMilli()}
}

// decodeKeyValues reads key-values that the runtime itself has written.
func decodeKeyValues(raw []byte) keyValues {
	var kvs keyValues
	if decodeJSON(raw, &kvs) != nil {
		return nil
	}
	return kvs
}

// place binds a sealed value to its entity (state.Sealer).
func place(collection string, q qualified) string { return collection + "/" + q.String() }

func (a *API) seal(collection string, e entity) []byte {
	return a.Sealer.Seal(place(collection, e.qualified), e.parameters.encode())
}

// unseal reads the parameters of an entity; an empty column has none.
func (a *API) unseal(collection string, q qualified, sealed []byte) (keyValues, error) {
	if len(sealed) == 0 {
		return nil, nil
	}
	raw, err := a.Sealer.Open(place(collection, q), sealed)
	if err != nil {
		return nil, err
	}
	return decodeKeyValues(raw), nil
}

// entityPut is what all PUT bodies have in common; absent fields change nothing.
type entityPut struct {
	Parameters  sent    `json:"parameters"`
	Version     *string `json:"version"`
	Publish     *bool   `json:"publish"`
	Annotations sent    `json:"annotations"`
}

// entityLimit is the largest body of a request without code.
func entityLimit(l state.Limits) int64 { return 3*l.PayloadBytes + 1<<16 }

// readPut reads the query's overwrite and the body into v, whose embedded entityPut is put.
func (c *call) readPut(v any, put *entityPut) (overwrite bool, err error) {
	q := c.query()
	if overwrite = q.flag("overwrite", false); q.err != nil {
		return false, q.err
	}
	if err := c.decode(v, entityLimit(c.who.limits)); err != nil {
		return false, err
	}
	return overwrite, put.read(c.who.limits)
}

func (put *entityPut) read(plan state.Limits) error {
	return errors.Join(put.Parameters.read("Parameters", plan.PayloadBytes), put.Annotations.read("Annotations", annotationLimit(plan)))
}

// apply merges the request into previous, which is the zero entity if q does not exist.
func (put entityPut) apply(q qualified, previous entity) (out entity, err error) {
	out = previous
	out.qualified, out.updated = q, time.Now().Truncate(time.Millisecond)
	if put.Publish != nil {
		out.publish = *put.Publish
	}
	if put.Annotations.values != nil {
		out.annotations = put.Annotations.values
	}
	if put.Parameters.values != nil {
		out.parameters = put.Parameters.values
	}
	out.version, err = nextVersion(put.Version, previous.version)
	return out, err
}

// checkPut says whether the entity exists, by the error of its query, and may be put.
func (a *API) checkPut(ctx context.Context, db state.DBTX, c *call, collection string, overwrite bool, readErr error) (exists bool, err error) {
	if readErr == nil && !overwrite {
		return true, refuse(http.StatusConflict, "resource already exists")
	}
	if !state.NotFound(readErr) {
		return readErr == nil, readErr
	}
	if c.pkg == "" {
		if err := a.checkCollection(ctx, db, c.qualified, collection); err != nil {
			return false, err
		}
	}
	counts, err := a.Store.CountEntities(ctx, db, c.namespace)
	if err != nil {
		return false, err
	}
	l := c.who.limits
	count := map[string]struct{ current, allowed int64 }{
		"actions": {counts.Actions, l.Actions}, "packages": {counts.Packages, l.Packages},
		"triggers": {counts.Triggers, l.Triggers}, "rules": {counts.Rules, l.Rules},
	}[collection]
	if count.current >= count.allowed {
		err = refuse(http.StatusForbidden, "The namespace has %d %s, which is as many as its plan allows: delete some first.", count.current, collection)
	}
	return false, err
}

// checkCollection refuses a name that another kind of entity has.
func (a *API) checkCollection(ctx context.Context, db state.DBTX, q qualified, collection string) error {
	has, err := a.Store.Collection(ctx, db, state.CollectionParams{Namespace: q.namespace, Name: q.name})
	if err == nil && has != "" && has != collection {
		err = refuse(http.StatusConflict, "Resource by this name exists but is not in this collection.")
	}
	return err
}

// missing replaces the error of a query that did not find q: another kind of entity may
// have its name. It returns other errors, and nil, unchanged.
func (a *API) missing(ctx context.Context, db state.DBTX, q qualified, collection string, err error) error {
	if !state.NotFound(err) {
		return err
	}
	if q.pkg == "" {
		if err := a.checkCollection(ctx, db, q, collection); err != nil {
			return err
		}
	}
	return errNotFound
}

// lockedChange runs f in a transaction that excludes other changes to the namespace's entities.
func lockedChange[T any](a *API, c *call, f func(ctx context.Context, tx pgx.Tx) (T, error)) (out T, err error) {
	ctx := c.Context()
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		_, err := a.Store.LockNamespace(ctx, tx, c.namespace)
		if state.NotFound(err) {
			return errBadCredentials // deprovisioned since the request was authenticated
		}
		if err != nil {
			return err
		}
		out, err = f(ctx, tx)
		return err
	})
	return out, err
}

var versionRule = regexp.MustCompile(`\A(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){0,2}\z`)

// parseVersion reads a semantic version of one to three numbers and writes all three.
func parseVersion(s string) (string, error) {
	if !versionRule.MatchString(s) || strings.Trim(s, "0.") == "" {
		return "", malformed("'%s' is not a semantic version", s)
	}
	for strings.Count(s, ".") < 2 {
		s += ".0"
	}
	return s, nil
}

// nextVersion is the requested version, or else the next patch.
func nextVersion(requested *string, previous string) (string, error) {
	if requested != nil {
		return parseVersion(*requested)
	}
	if previous == "" {
		return "0.0.1", nil
	}
	parts := strings.Split(previous, ".")
	patch, err := strconv.Atoi(parts[len(parts)-1])
	if err != nil {
		return "", fmt.Errorf("version %q in the database: %w", previous, err)
	}
	parts[len(parts)-1] = strconv.Itoa(patch + 1)
	return strings.Join(parts, "."), nil
}
