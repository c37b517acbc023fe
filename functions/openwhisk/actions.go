package openwhisk

import (
	"context"
	"errors"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// action is an action as the database has it, usually without its code.
type action struct {
	entity
	exec
	limits actionLimits
}

func (a *API) newAction(row state.ActionRow) (action, error) {
	x := action{
		entity: newEntity(qualified{row.Namespace, row.Package, row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt),
		exec:   exec{kind: row.Kind, main: row.Main, hash: row.CodeHash, components: row.Components},
		limits: actionLimits{int64(row.TimeoutMs), int64(row.MemoryMb), int64(row.LogsMb), 1},
	}
	var err error
	x.parameters, err = a.unseal("actions", x.qualified, row.Parameters)
	return x, err
}

func (a *API) findAction(ctx context.Context, db state.DBTX, q qualified) (action, error) {
	row, err := a.Store.Action(ctx, db, state.ActionParams{Namespace: q.namespace, Package: q.pkg, Name: q.name})
	if err != nil {
		return action{}, a.missing(ctx, db, q, "actions", err)
	}
	return a.newAction(row)
}

type actionDocument struct {
	summary
	Parameters keyValues    `json:"parameters"`
	Limits     actionLimits `json:"limits"`
	Exec       execDocument `json:"exec"`
}

func (x action) document(withCode bool) actionDocument {
	return actionDocument{x.summary(), x.parameters, x.limits, x.exec.document(withCode)}
}

type actionSummary struct {
	summary
	Limits actionLimits `json:"limits"`
	Exec   struct {
		Binary bool `json:"binary"`
	} `json:"exec"`
}

func (x action) listEntry() actionSummary {
	s := actionSummary{summary: x.summary(), Limits: x.limits}
	s.Exec.Binary = sandboxKind(x.kind) == sandbox.WASM
	return s
}

// listActions serves GET /actions and GET /actions/{package}/; a binding shows the bound package's.
func (a *API) listActions(c *call) error {
	at := c.qualified
	if c.pkg != "" {
		var err error
		if at, _, err = a.locate(c); err != nil {
			return err
		}
	}
	if at.namespace == systemNamespace {
		out := []actionSummary{}
		for _, x := range nativesOf(at.pkg) {
			out = append(out, x.listEntry())
		}
		return c.ok(out)
	}
	ctx, db, packaged := c.Context(), a.Store.Pool, c.pkg != ""
	return listEntities(c, "actions",
		func() (int64, error) {
			return a.Store.CountActions(ctx, db, state.CountActionsParams{Namespace: at.namespace, Package: at.pkg, Packaged: packaged})
		},
		func(p page) ([]state.ListActionsRow, error) {
			return a.Store.ListActions(ctx, db, state.ListActionsParams{
				Namespace: at.namespace, Package: at.pkg, Packaged: packaged, Skip: p.skip, Batch: p.limit,
			})
		},
		func(row state.ListActionsRow) actionSummary {
			x, _ := a.newAction(state.ActionRow(row)) // fails only if there are parameters
			return x.listEntry()
		})
}

type actionPut struct {
	entityPut
	Exec           *execDocument `json:"exec"`
	Limits         *limitsPut    `json:"limits"`
	DelAnnotations []string      `json:"delAnnotations"`
}

// putLimit is the largest body of a request with code, in base64 and with JSON's escapes.
func putLimit(l state.Limits) int64 { return 2*l.CodeBytes + 3*l.PayloadBytes + 1<<16 }

func (a *API) putAction(c *call) error {
	q := c.query()
	overwrite := q.flag("overwrite", false)
	if q.err != nil {
		return q.err
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
	return c.reply(stored.document(e != nil), err)
}

// readActionPut reads the body. Bodies beyond entityLimit share a.Upload bytes of memory.
func (a *API) readActionPut(c *call) (put actionPut, release func(), err error) {
	limit := putLimit(c.who.limits)
	weight := min(3*limit, a.Upload) // body, decoded string, decoded base64
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
	if err = c.decode(&put, limit); err == nil {
		err = put.read(c.who.limits)
	}
	if err != nil {
		release()
	}
	return put, release, err
}

// storeAction compiles the code before the transaction, if the request could succeed.
func (a *API) storeAction(c *call, put actionPut, e *exec, overwrite bool) (action, error) {
	ctx := c.Context()
	if _, _, err := a.mergeAction(ctx, a.Store.Pool, c, put, e, overwrite); err != nil {
		return action{}, err
	}
	var unused []string
	if e != nil {
		if err := a.prepare(ctx, *e); err != nil {
			return action{}, err
		}
		unused = append(unused, e.hash)
	}
	defer func() { a.forgetUnused(context.WithoutCancel(ctx), unused...) }()
	return lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (action, error) {
		x, previousHash, err := a.mergeAction(ctx, tx, c, put, e, overwrite)
		if err != nil {
			return x, err
		}
		unused = append(unused, previousHash)
		return x, a.writeAction(ctx, tx, x, e != nil)
	})
}

// mergeAction is the action as it would be after the request, and the hash of the code
// that it had before.
func (a *API) mergeAction(ctx context.Context, db state.DBTX, c *call, put actionPut, e *exec, overwrite bool) (out action, previousHash string, err error) {
	if err := a.checkPackage(ctx, db, c.qualified); err != nil {
		return out, "", err
	}
	row, err := a.Store.Action(ctx, db, state.ActionParams{Namespace: c.namespace, Package: c.pkg, Name: c.name})
	exists, err := a.checkPut(ctx, db, c, "actions", overwrite, err)
	if err != nil {
		return out, "", err
	}
	previous, err := a.newAction(row)
	if err == nil && !exists && e == nil {
		err = refuse(http.StatusBadRequest, "exec undefined")
	}
	if err != nil {
		return out, "", err
	}
	if out, err = put.apply(c, previous, exists, e); err != nil {
		return out, "", err
	}
	if err := errors.Join(checkUnlocked(previous, put), checkCGI(out), checkConductor(out)); err != nil {
		return out, "", err
	}
	if out.kind == sequenceKind {
		err = a.checkSequence(ctx, db, c.who, c.qualified, out.components)
		out.parameters = keyValues(nil).set("_actions", out.components)
	}
	return out, previous.hash, err
}

// checkPackage refuses to change an action in a binding, or in a package that does not exist.
func (a *API) checkPackage(ctx context.Context, db state.DBTX, q qualified) error {
	if q.pkg == "" {
		return nil
	}
	p, err := a.Store.PackageNamed(ctx, db, state.PackageNamedParams{Namespace: q.namespace, Name: q.pkg})
	switch {
	case state.NotFound(err):
		return errNotFound
	case err == nil && p.BoundName != "":
		return refuse(http.StatusBadRequest, "Operation not permitted on package binding.")
	}
	return err
}

// apply merges the request into previous, as the controller does (WhiskActionsApi,
// updateWhiskAction).
func (put actionPut) apply(c *call, previous action, exists bool, e *exec) (action, error) {
	out := previous
	if !exists {
		out.limits = initialLimits(c.who.limits)
	}
	if e != nil {
		if out.kind == sequenceKind {
			out.parameters = nil // a sequence's are its own
		}
		out.exec = *e
	}
	annotations := out.annotations.without(put.DelAnnotations...).merged(put.Annotations.values)
	if !exists && annotations.get(provideKeyAnnotation) == nil {
		annotations = annotations.set(provideKeyAnnotation, false)
	}
	var err error
	if out.limits, err = put.Limits.merged(c.who.limits, out.limits); err != nil {
		return out, err
	}
	if out.entity, err = put.entityPut.apply(c.qualified, out.entity); err != nil {
		return out, err
	}
	out.annotations = annotations.set("exec", out.kind)
	return out, checkValues("Annotations", out.annotations, annotationLimit(c.who.limits))
}

// writeAction keeps the stored code unless withCode is set.
func (a *API) writeAction(ctx context.Context, tx pgx.Tx, x action, withCode bool) error {
	return a.Store.PutAction(ctx, tx, state.PutActionParams{
		Namespace: x.namespace, Package: x.pkg, Name: x.name, Version: x.version, Publish: x.publish,
		Annotations: x.annotations.encode(), Parameters: a.seal("actions", x.entity), Kind: x.kind, Main: x.main,
		WithCode: withCode, Code: append([]byte{}, x.code...), CodeHash: x.hash, Components: append([]string{}, x.components...),
		TimeoutMs: clamp(x.limits.Timeout), MemoryMb: clamp(x.limits.Memory), LogsMb: clamp(x.limits.Logs), UpdatedAt: x.updated,
	})
}

// forgetUnused makes the sandbox delete compiled code that no action of any namespace
// uses. Other runtimes find out by themselves.
func (a *API) forgetUnused(ctx context.Context, hashes ...string) {
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

// getAction serves GET /actions/[{package}/]{name}?code=, with the parameters that the
// action inherits from its package.
func (a *API) getAction(c *call) error {
	q := c.query()
	withCode := q.flag("code", true)
	if q.err != nil {
		return q.err
	}
	at, inherited, err := a.locate(c)
	if err != nil {
		return err
	}
	if at.namespace == systemNamespace {
		x, err := findNative(at.pkg, at.name)
		return c.reply(x.document(false), err)
	}
	x, err := a.findAction(c.Context(), a.Store.Pool, at)
	if err != nil {
		return err
	}
	x.parameters = inherited.merged(x.parameters)
	if withCode && x.kind != sequenceKind {
		x.code, err = a.loadCode(c.Context(), x.qualified, x.hash)
	}
	return c.reply(x.document(withCode), err)
}

func (a *API) loadCode(ctx context.Context, q qualified, hash string) ([]byte, error) {
	code, err := a.Store.ActionCode(ctx, a.Store.Pool, state.ActionCodeParams{Namespace: q.namespace, Package: q.pkg, Name: q.name, CodeHash: hash})
	if state.NotFound(err) {
		return nil, errNotFound
	}
	return code, err
}

func (a *API) deleteAction(c *call) error {
	deleted, err := lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (x action, err error) {
		if err := a.checkPackage(ctx, tx, c.qualified); err != nil {
			return x, err
		}
		if x, err = a.findAction(ctx, tx, c.qualified); err != nil {
			return x, err
		}
		if x.annotations.is(lockAnnotation) {
			return x, refuseLocked("deleted")
		}
		return x, a.Store.DeleteAction(ctx, tx, state.DeleteActionParams{Namespace: c.namespace, Package: c.pkg, Name: c.name})
	})
	if err == nil {
		a.forgetUnused(context.WithoutCancel(c.Context()), deleted.hash)
	}
	return c.reply(deleted.document(false), err)
}

const (
	// lockAnnotation, true, protects an action from changes and deletion.
	lockAnnotation = "lock"
	// conductorAnnotation makes an action the conductor of a composition.
	conductorAnnotation = "conductor"
)

func refuseLocked(what string) error {
	return refuse(http.StatusForbidden, "this action can't be %s until %s annotation is updated to false", what, lockAnnotation)
}

// checkUnlocked refuses to change a locked action, unless the same request unlocks it.
func checkUnlocked(previous action, put actionPut) error {
	if previous.annotations.is(lockAnnotation) && string(put.Annotations.values.get(lockAnnotation)) != "false" {
		return refuseLocked("updated")
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
