package openwhisk

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// actionPut is the body of PUT /actions/…: what is absent stays as it is
// (WhiskActionPut).
type actionPut struct {
	Exec           *execPut   `json:"exec"`
	Parameters     sent       `json:"parameters"`
	Limits         *limitsPut `json:"limits"`
	Version        *string    `json:"version"`
	Publish        *bool      `json:"publish"`
	Annotations    sent       `json:"annotations"`
	DelAnnotations []string   `json:"delAnnotations"`
}

// putLimit is how long a request may be that carries code, base64 and JSON's
// escapes included.
func putLimit(l state.Limits) int64 { return 2*l.CodeBytes + 3*l.PayloadBytes + 1<<16 }

// putAction serves PUT /actions/[{package}/]{name}.
func (a *API) putAction(c *call) error {
	overwrite, err := c.flag("overwrite", false)
	if err != nil {
		return err
	}
	put, release, err := a.readActionPut(c)
	if err != nil {
		return err
	}
	defer release()
	var e *exec
	if put.Exec != nil {
		resolved, err := put.Exec.resolve(c.who.namespace)
		if err != nil {
			return err
		}
		if n := int64(len(resolved.code)); n > c.who.limits.CodeBytes {
			return tooLarge("Code", n, c.who.limits.CodeBytes)
		}
		e = &resolved
	}
	stored, err := a.storeAction(c, put, e, overwrite)
	if err != nil {
		return err
	}
	return c.ok(stored.document(e != nil))
}

// readActionPut reads the body within the memory that all uploads have together. A
// small one, no longer than other requests may be, waits for no other: uploads that
// come in slowly delay none but large ones.
func (a *API) readActionPut(c *call) (put actionPut, release func(), err error) {
	limit := putLimit(c.who.limits)
	// Body, decoded string, decoded base64.
	weight := min(3*limit, a.Upload)
	if c.ContentLength >= 0 {
		weight = min(weight, 3*c.ContentLength)
	}
	if c.ContentLength >= 0 && c.ContentLength <= entityLimit(c.who.limits) {
		weight = 0
	}
	if err := a.uploads.Acquire(c.Context(), weight); err != nil {
		return put, nil, err
	}
	release = func() { a.uploads.Release(weight) }
	if err := c.decode(&put, limit); err != nil {
		release()
		return put, nil, err
	}
	if err := errors.Join(put.Parameters.readParameters(c.who.limits), put.Annotations.readAnnotations(c.who.limits)); err != nil {
		release()
		return put, nil, err
	}
	return put, release, nil
}

// storeAction merges, checks and writes. The code is compiled before the
// transaction, and only where the request could succeed.
func (a *API) storeAction(c *call, put actionPut, e *exec, overwrite bool) (action, error) {
	ctx := c.Context()
	if _, err := a.mergeAction(ctx, a.Store.Pool, c, put, e, overwrite); err != nil {
		return action{}, err
	}
	var unused []string
	if e != nil {
		if err := a.prepare(ctx, *e); err != nil {
			return action{}, err
		}
		unused = append(unused, e.hash)
	}
	// Whatever happens from here on, code that nobody has is not kept.
	defer func() { a.forgetUnused(context.WithoutCancel(ctx), unused) }()
	var out action
	err := a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		merged, err := a.mergeAction(ctx, tx, c, put, e, overwrite)
		if err != nil {
			return err
		}
		out = merged.action
		unused = append(unused, merged.previousHash)
		return a.writeAction(ctx, tx, out, e != nil)
	})
	return out, err
}

// lock excludes all others from changing the namespace's entities.
func (a *API) lock(ctx context.Context, tx pgx.Tx, namespace string) ([]byte, error) {
	limits, err := a.Store.LockNamespace(ctx, tx, namespace)
	if state.NotFound(err) {
		return nil, errBadCredentials // deprovisioned since the request was let in
	}
	return limits, err
}

type mergedAction struct {
	action
	previousHash string
}

// mergeAction is the action as it would be after the request; the error says why
// it cannot be.
func (a *API) mergeAction(ctx context.Context, db state.DBTX, c *call, put actionPut, e *exec, overwrite bool) (mergedAction, error) {
	previous, err := a.previousAction(ctx, db, c, overwrite)
	if err != nil {
		return mergedAction{}, err
	}
	if previous == nil && e == nil {
		return mergedAction{}, errExecUndefined
	}
	out, err := put.apply(c, previous, e)
	if err != nil {
		return mergedAction{}, err
	}
	if err := errors.Join(checkUnlocked(previous, put), checkCGI(out), checkConductor(out)); err != nil {
		return mergedAction{}, err
	}
	if out.kind == sequenceKind {
		if err := a.checkSequence(ctx, db, c.who, c.qualified, out.components); err != nil {
			return mergedAction{}, err
		}
		out.parameters = keyValues(nil).set("_actions", out.components)
	}
	m := mergedAction{action: out}
	if previous != nil {
		m.previousHash = previous.hash
	}
	return m, nil
}

// previousAction is what is there already; nil where there is nothing and
// something may be made.
func (a *API) previousAction(ctx context.Context, db state.DBTX, c *call, overwrite bool) (*action, error) {
	if err := a.checkPackage(ctx, db, c.qualified); err != nil {
		return nil, err
	}
	row, err := a.Store.Action(ctx, db, state.ActionParams{Namespace: c.namespace, Package: c.pkg, Name: c.name})
	if err == nil && !overwrite {
		return nil, errExists
	}
	if err == nil {
		previous, err := a.newAction(row)
		return &previous, err
	}
	if !state.NotFound(err) {
		return nil, err
	}
	if c.pkg == "" {
		if err := a.checkCollection(ctx, db, c.qualified, "actions"); err != nil {
			return nil, err
		}
	}
	counts, err := a.Store.CountEntities(ctx, db, c.namespace)
	if err != nil {
		return nil, err
	}
	return nil, checkCount("actions", counts.Actions, c.who.limits.Actions)
}

// checkPackage refuses to change what is in a binding, or in no package there is.
func (a *API) checkPackage(ctx context.Context, db state.DBTX, q qualified) error {
	if q.pkg == "" {
		return nil
	}
	p, err := a.Store.PackageNamed(ctx, db, state.PackageNamedParams{Namespace: q.namespace, Name: q.pkg})
	switch {
	case state.NotFound(err):
		return errNotFound
	case err != nil:
		return err
	case p.BoundName != "":
		return errOnBinding
	}
	return nil
}

// checkCollection refuses a name that another kind of entity has.
func (a *API) checkCollection(ctx context.Context, db state.DBTX, q qualified, collection string) error {
	has, err := a.Store.Collection(ctx, db, state.CollectionParams{Namespace: q.namespace, Name: q.name})
	if err != nil {
		return err
	}
	if has != "" && has != collection {
		return errConformance
	}
	return nil
}

// missing is the error for an entity that is not there: another kind of entity
// may have its name.
func (a *API) missing(ctx context.Context, db state.DBTX, q qualified, collection string) error {
	if q.pkg == "" {
		if err := a.checkCollection(ctx, db, q, collection); err != nil {
			return err
		}
	}
	return errNotFound
}

// apply merges the request into previous, as the controller does (WhiskActionsApi,
// updateWhiskAction).
func (put actionPut) apply(c *call, previous *action, e *exec) (action, error) {
	out := action{qualified: c.qualified}
	var limits *actionLimits
	if previous != nil {
		out, limits = *previous, &previous.limits
	}
	var err error
	if out.limits, err = put.Limits.resolve(c.who.limits, limits); err != nil {
		return out, err
	}
	if out.version, err = nextVersion(put.Version, out.version); err != nil {
		return out, err
	}
	if e != nil {
		if out.kind == sequenceKind {
			out.parameters = nil // a sequence's are its own
		}
		out.exec = *e
	}
	if put.Parameters.values != nil {
		out.parameters = *put.Parameters.values
	}
	if put.Publish != nil {
		out.publish = *put.Publish
	}
	out.annotations = out.annotations.without(put.DelAnnotations...)
	if put.Annotations.values != nil {
		out.annotations = out.annotations.merged(*put.Annotations.values)
	}
	if previous == nil && out.annotations.get(provideKeyAnnotation) == nil {
		out.annotations = out.annotations.set(provideKeyAnnotation, false)
	}
	out.annotations = out.annotations.set("exec", out.kind)
	out.updated = time.Now().Truncate(time.Millisecond)
	return out, checkValues("Annotations", out.annotations, annotationLimit(c.who.limits))
}

func (a *API) writeAction(ctx context.Context, tx pgx.Tx, x action, withCode bool) error {
	sealed := a.seal("actions", x.qualified, x.parameters)
	components := append([]string{}, x.components...)
	l := x.limits
	if withCode {
		return a.Store.PutAction(ctx, tx, state.PutActionParams{
			Namespace: x.namespace, Package: x.pkg, Name: x.name, Version: x.version, Publish: x.publish,
			Annotations: x.annotations.encode(), Parameters: sealed, Kind: x.kind, Main: x.main, Code: append([]byte{}, x.code...), CodeHash: x.hash,
			Components: components, TimeoutMs: clamp(l.Timeout), MemoryMb: clamp(l.Memory), LogsMb: clamp(l.Logs), UpdatedAt: x.updated,
		})
	}
	return a.Store.UpdateAction(ctx, tx, state.UpdateActionParams{
		Namespace: x.namespace, Package: x.pkg, Name: x.name, Version: x.version, Publish: x.publish,
		Annotations: x.annotations.encode(), Parameters: sealed, Components: components,
		TimeoutMs: clamp(l.Timeout), MemoryMb: clamp(l.Memory), LogsMb: clamp(l.Logs), UpdatedAt: x.updated,
	})
}

// forgetUnused has the sandbox delete what it compiled from code that no action
// of any namespace has. Other runtimes find out by themselves.
func (a *API) forgetUnused(ctx context.Context, hashes []string) {
	for _, hash := range hashes {
		if hash == "" {
			continue
		}
		used, err := a.Store.CodeInUse(ctx, a.Store.Pool, hash)
		if err == nil && !used {
			err = a.Runner.Forget(hash)
		}
		if err != nil {
			a.Logger.WarnContext(ctx, "compiled code could not be forgotten", "error", err)
		}
	}
}

// getAction serves GET /actions/[{package}/]{name}?code=: with the parameters that
// it inherits from its package.
func (a *API) getAction(c *call) error {
	withCode, err := c.flag("code", true)
	if err != nil {
		return err
	}
	at, inherited, err := a.locate(c)
	if err != nil {
		return err
	}
	if at.namespace == systemNamespace {
		return a.getNative(c, at)
	}
	row, err := a.Store.Action(c.Context(), a.Store.Pool, state.ActionParams{Namespace: at.namespace, Package: at.pkg, Name: at.name})
	if state.NotFound(err) {
		return a.missing(c.Context(), a.Store.Pool, at, "actions")
	}
	if err != nil {
		return err
	}
	x, err := a.newAction(row)
	if err != nil {
		return err
	}
	x.parameters = inherited.merged(x.parameters)
	if withCode && x.kind != sequenceKind {
		if x.code, err = a.loadCode(c.Context(), x.qualified, x.hash); err != nil {
			return err
		}
	}
	return c.ok(x.document(withCode))
}

func (a *API) loadCode(ctx context.Context, q qualified, hash string) ([]byte, error) {
	code, err := a.Store.ActionCode(ctx, a.Store.Pool, state.ActionCodeParams{Namespace: q.namespace, Package: q.pkg, Name: q.name, CodeHash: hash})
	if state.NotFound(err) {
		return nil, errNotFound
	}
	return code, err
}

// deleteAction serves DELETE /actions/[{package}/]{name}.
func (a *API) deleteAction(c *call) error {
	ctx := c.Context()
	var gone action
	err := a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		if err := a.checkPackage(ctx, tx, c.qualified); err != nil {
			return err
		}
		row, err := a.Store.Action(ctx, tx, state.ActionParams{Namespace: c.namespace, Package: c.pkg, Name: c.name})
		if state.NotFound(err) {
			return a.missing(ctx, tx, c.qualified, "actions")
		}
		if err != nil {
			return err
		}
		if gone, err = a.newAction(row); err != nil {
			return err
		}
		if gone.annotations.is(lockAnnotation) {
			return locked("deleted")
		}
		return a.Store.DeleteAction(ctx, tx, state.DeleteActionParams{Namespace: c.namespace, Package: c.pkg, Name: c.name})
	})
	if err != nil {
		return err
	}
	a.forgetUnused(context.WithoutCancel(ctx), []string{gone.hash})
	return c.ok(gone.document(false))
}
