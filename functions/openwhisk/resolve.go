package openwhisk

import (
	"context"
	"fmt"
	"net/http"

	"github.com/chandler-broker/chandler/functions/state"
)

// target is an action that may be invoked: who asked, what it is, and with what
// parameters.
type target struct {
	who identity
	action
	// binding is the package binding that led to the action; empty where none did.
	binding string
	native  *nativeAction
}

const (
	provideKeyAnnotation = "provide-api-key"
	finalAnnotation      = "final"
)

// allows refuses input that overrides a parameter that is final.
func (t target) allows(keys map[string]bool) error {
	if t.annotations.is(finalAnnotation) && t.parameters.fixed(keys) {
		return errOverrides
	}
	return nil
}

// resolve says who calls and finds the action q, all in one query. A namespace
// that is empty or "_" is the caller's own. Errors are errBadCredentials where
// nobody is known by these credentials, and what the caller may not invoke.
func (a *API) resolve(ctx context.Context, db state.DBTX, by credentials, q qualified) (target, error) {
	return a.find(ctx, db, by, q, false)
}

// find is resolve; where bare the target has no parameters, which may be large.
func (a *API) find(ctx context.Context, db state.DBTX, by credentials, q qualified, bare bool) (target, error) {
	if q.namespace == ownNamespace {
		q.namespace = ""
	}
	row, err := a.Store.Resolve(ctx, db, state.ResolveParams{
		Uuid: by.id, Hash: by.hash, Namespace: by.namespace, Binding: by.binding,
		Target: q.namespace, Package: q.pkg, Name: q.name, Bare: bare,
	})
	if state.NotFound(err) {
		return target{}, errBadCredentials
	}
	if err != nil {
		return target{}, fmt.Errorf("find the action: %w", err)
	}
	who, err := newIdentity(state.CallerRow{Namespace: row.Caller, Binding: row.Binding, Role: row.Role, Limits: row.Limits, Mounts: row.Mounts})
	if err != nil {
		return target{}, err
	}
	if q.namespace == "" {
		q.namespace = who.namespace
	}
	if err := admits(row, who.namespace, q); err != nil {
		return target{}, err
	}
	if native, err := nativeOf(row, q); native != nil || err != nil {
		return a.nativeTarget(row, who, q, native, err)
	}
	if !row.Found {
		return target{}, a.missing(ctx, db, q, "actions")
	}
	return a.newTarget(row, who, q)
}

// admits refuses actions of other namespaces that are in no public package.
func admits(row state.ResolveRow, caller string, q qualified) error {
	if q.namespace != caller && q.namespace != systemNamespace && (q.pkg == "" || row.PackageNamespace == "" || !row.PackagePublish) {
		return forbidden(q.namespace, q.local())
	}
	foreign := row.BoundNamespace != "" && row.BoundNamespace != caller && row.BoundNamespace != systemNamespace
	if foreign && !row.ProviderPublish {
		return forbidden(row.BoundNamespace, row.BoundName+"/"+q.name)
	}
	return nil
}

// nativeOf is the action of whisk.system that q leads to; nil where it leads to
// none.
func nativeOf(row state.ResolveRow, q qualified) (*nativeAction, error) {
	pkg := q.pkg
	switch {
	case q.namespace == systemNamespace:
	case row.BoundNamespace == systemNamespace:
		pkg = row.BoundName
	default:
		return nil, nil
	}
	n, err := findNative(pkg, q.name)
	return &n, err
}

func (a *API) nativeTarget(row state.ResolveRow, who identity, q qualified, n *nativeAction, err error) (target, error) {
	if err != nil {
		return target{}, err
	}
	t := target{who: who, native: n}
	t.qualified, t.version, t.kind = n.qualified(), nativeVersion, nativeKind
	t.annotations, t.limits = n.annotations(), n.limits()
	if row.BoundNamespace != "" {
		t.binding = qualified{namespace: q.namespace, name: q.pkg}.String()
		t.parameters, err = a.unseal("packages", qualified{namespace: q.namespace, name: q.pkg}, row.PackageParameters)
	}
	return t, err
}

// newTarget merges parameters: those of a package that is bound to are the
// weakest, then those of the binding or package, then the action's.
func (a *API) newTarget(row state.ResolveRow, who identity, q qualified) (target, error) {
	x, err := a.newAction(state.ActionRow{
		Namespace: row.Namespace, Package: row.Package, Name: row.Name, Version: row.Version, Annotations: row.Annotations, Parameters: row.Parameters,
		Kind: row.Kind, Main: row.Main, CodeHash: row.CodeHash, Components: row.Components,
		TimeoutMs: row.TimeoutMs, MemoryMb: row.MemoryMb, LogsMb: row.LogsMb,
	})
	if err != nil {
		return target{}, err
	}
	t := target{who: who, action: x}
	t.limits = t.limits.lowered(who.limits)
	if q.pkg == "" {
		return t, nil
	}
	inherited, err := a.unseal("packages", qualified{namespace: q.namespace, name: q.pkg}, row.PackageParameters)
	if err != nil {
		return target{}, err
	}
	if row.BoundName != "" {
		t.binding = qualified{namespace: q.namespace, name: q.pkg}.String()
		provider, err := a.unseal("packages", qualified{namespace: row.BoundNamespace, name: row.BoundName}, row.ProviderParameters)
		if err != nil {
			return target{}, err
		}
		inherited = provider.merged(inherited)
	}
	t.parameters = inherited.merged(t.parameters)
	return t, nil
}

// invokable refuses what a key's role may not invoke: feeds change things.
func (t target) invokable() error {
	if t.native != nil && !t.who.mayChange() {
		return refuse(http.StatusForbidden, "The supplied authentication is not authorized to change feeds.")
	}
	return nil
}
