package openwhisk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// target is an action that may be invoked, its caller, and the parameters in force.
type target struct {
	who identity
	action
	binding string // the package binding that led to the action, if one did
}

const (
	provideKeyAnnotation = "provide-api-key"
	finalAnnotation      = "final"
)

func (t target) native() bool { return t.kind == nativeKind }

// allows refuses input that overrides a final parameter.
func (t target) allows(keys map[string]bool) error {
	if t.annotations.is(finalAnnotation) && t.parameters.overriddenBy(keys) {
		return errOverrides
	}
	return nil
}

// invokable refuses what the role of the key may not invoke: feeds change the namespace.
func (t target) invokable() error {
	if t.native() && !t.who.mayChange() {
		return refuse(http.StatusForbidden, "The supplied authentication is not authorized to change feeds.")
	}
	return nil
}

// resolve identifies the caller and finds the action q in one query. If the namespace of
// q is empty or "_", it is the caller's own. The error is errBadCredentials for unknown
// credentials, or says why the caller may not invoke the action.
func (a *API) resolve(ctx context.Context, db state.DBTX, by credentials, q qualified) (target, error) {
	return a.find(ctx, db, by, q, false)
}

// resolveFor is resolve on behalf of a namespace, with the binding and role of who.
func (a *API) resolveFor(ctx context.Context, who identity, q qualified) (target, error) {
	t, err := a.resolve(ctx, a.Store.Pool, namespaceCredentials(who.namespace), q)
	t.who.binding, t.who.role = who.binding, who.role
	return t, err
}

// find is resolve; with bare it does not read the parameters, which may be large.
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
	x, err := a.resolvedAction(ctx, db, row, who, q)
	if err != nil {
		return target{}, err
	}
	return a.newTarget(row, who, q, x)
}

// admits refuses actions of other namespaces outside public packages.
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

func (a *API) resolvedAction(ctx context.Context, db state.DBTX, row state.ResolveRow, who identity, q qualified) (action, error) {
	switch {
	case q.namespace == systemNamespace:
		return findNative(q.pkg, q.name)
	case row.BoundNamespace == systemNamespace:
		return findNative(row.BoundName, q.name)
	case !row.Found:
		return action{}, a.missing(ctx, db, q, "actions", pgx.ErrNoRows)
	}
	x, err := a.newAction(state.ActionRow{
		Namespace: row.Namespace, Package: row.Package, Name: row.Name, Version: row.Version, Annotations: row.Annotations, Parameters: row.Parameters,
		Kind: row.Kind, Main: row.Main, CodeHash: row.CodeHash, Components: row.Components,
		TimeoutMs: row.TimeoutMs, MemoryMb: row.MemoryMb, LogsMb: row.LogsMb,
	})
	x.limits = x.limits.lowered(who.limits)
	return x, err
}

// newTarget merges parameters: a bound package's are the weakest, and the action's win.
func (a *API) newTarget(row state.ResolveRow, who identity, q qualified, x action) (target, error) {
	t := target{who: who, action: x}
	if q.pkg == "" {
		return t, nil
	}
	named, bound := qualified{namespace: q.namespace, name: q.pkg}, qualified{namespace: row.BoundNamespace, name: row.BoundName}
	inherited, err := a.unseal("packages", named, row.PackageParameters)
	provided, err2 := a.unseal("packages", bound, row.ProviderParameters)
	if row.BoundName != "" {
		t.binding = named.String()
	}
	t.parameters = provided.merged(inherited).merged(t.parameters)
	return t, errors.Join(err, err2)
}

const (
	nativeKind    = "native"
	nativeVersion = "1.0.0"
	nativeTimeout = 30 * time.Second
)

// natives are the feeds, the actions that the runtime runs itself. Only their time is limited.
func natives() []action {
	native := func(pkg, name, description string) action {
		return action{
			entity: entity{
				qualified: qualified{systemNamespace, pkg, name}, version: nativeVersion, updated: time.UnixMilli(0),
				annotations: keyValues(nil).set("description", description).set("feed", true).set("exec", nativeKind),
			},
			exec:   exec{kind: nativeKind},
			limits: actionLimits{Timeout: nativeTimeout.Milliseconds(), Memory: 128, Logs: 0, Concurrency: 1},
		}
	}
	return []action{
		native("alarms", "alarm", "Fire trigger when alarm occurs"),
		native("alarms", "interval", "Fire trigger at specified interval"),
		native("alarms", "once", "Fire trigger once when alarm occurs"),
		native("messaging", "nats", "Fire trigger for each message of a NATS JetStream stream"),
	}
}

// nativesOf are the actions of one package of whisk.system.
func nativesOf(pkg string) []action {
	return slices.DeleteFunc(natives(), func(x action) bool { return x.pkg != pkg })
}

func findNative(pkg, name string) (action, error) {
	for _, x := range nativesOf(pkg) {
		if x.name == name {
			return x, nil
		}
	}
	return action{}, errNotFound
}

func nativePackage(name string) (whiskPackage, error) {
	if len(nativesOf(name)) == 0 {
		return whiskPackage{}, errNotFound
	}
	q := qualified{namespace: systemNamespace, name: name}
	return whiskPackage{entity: entity{qualified: q, version: nativeVersion, publish: true, updated: time.UnixMilli(0)}}, nil
}

func nativePackages() (summaries []packageSummary) {
	for _, x := range slices.CompactFunc(natives(), func(x, y action) bool { return x.pkg == y.pkg }) {
		p, _ := nativePackage(x.pkg) // exists: x is in it
		summaries = append(summaries, p.summary(false))
	}
	return summaries
}
