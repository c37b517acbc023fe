package openwhisk

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// locate finds where what the path names really is: through the package, and
// through what that is bound to. It refuses what the caller may not read, and
// returns the parameters that are inherited on the way.
func (a *API) locate(c *call) (qualified, keyValues, error) {
	if c.pkg == "" {
		if c.namespace != c.who.namespace {
			return qualified{}, nil, forbidden(c.namespace, c.local())
		}
		return c.qualified, nil, nil
	}
	p, err := a.findPackage(c.Context(), c.who.namespace, qualified{namespace: c.namespace, name: c.pkg})
	if err != nil {
		return qualified{}, nil, err
	}
	return qualified{p.source.namespace, p.source.name, c.name}, p.parameters, nil
}

// foundPackage is a package as a caller sees it.
type foundPackage struct {
	state.Package
	source     qualified // where its actions are: itself, or what it is bound to
	parameters keyValues // its own over those of what it is bound to
}

// findPackage reads a package on behalf of a namespace. A package of another
// namespace must be public, and so must be what it is bound to.
func (a *API) findPackage(ctx context.Context, caller string, q qualified) (foundPackage, error) {
	found, err := a.readPackage(ctx, caller, q)
	if err != nil || found.BoundName == "" {
		return found, err
	}
	provider, err := a.readPackage(ctx, caller, qualified{namespace: found.BoundNamespace, name: found.BoundName})
	if err != nil {
		return foundPackage{}, err
	}
	if provider.BoundName != "" {
		return foundPackage{}, errNotFound // what was bound to was deleted, and made again as a binding
	}
	found.source = provider.source
	found.parameters = provider.parameters.merged(found.parameters)
	return found, nil
}

// readPackage reads one package, and not what it is bound to.
func (a *API) readPackage(ctx context.Context, caller string, q qualified) (foundPackage, error) {
	if q.namespace == systemNamespace {
		return nativePackage(q.name)
	}
	row, err := a.Store.PackageNamed(ctx, a.Store.Pool, state.PackageNamedParams{Namespace: q.namespace, Name: q.name})
	if err != nil && !state.NotFound(err) {
		return foundPackage{}, err
	}
	if q.namespace != caller && (err != nil || !row.Publish) {
		return foundPackage{}, forbidden(q.namespace, q.name) // and not whether it is there
	}
	if err != nil {
		return foundPackage{}, a.missing(ctx, a.Store.Pool, q, "packages")
	}
	parameters, err := a.unseal("packages", q, row.Parameters)
	return foundPackage{row, q, parameters}, err
}

type packageSummary struct {
	summary
	Binding any `json:"binding"` // bound; false in lists, {} elsewhere, of what is no binding
}

type bound struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func bindingOf(namespace, name string, none any) any {
	if name == "" {
		return none
	}
	return bound{namespace, name}
}

type packageDocument struct {
	packageSummary
	Parameters keyValues `json:"parameters"`
}

// packageWithActions is a package as GET has it.
type packageWithActions struct {
	packageDocument
	Actions []packageAction `json:"actions"`
	Feeds   []packageAction `json:"feeds"`
}

type packageAction struct {
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Annotations keyValues `json:"annotations"`
}

func newPackageDocument(row state.Package, parameters keyValues) packageDocument {
	s := newSummary(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt)
	return packageDocument{packageSummary{s, bindingOf(row.BoundNamespace, row.BoundName, struct{}{})}, parameters}
}

// getPackage serves GET /packages/{name}: what it inherits is merged in, and its
// actions are listed. Of a binding everything but those is its own.
func (a *API) getPackage(c *call) error {
	p, err := a.findPackage(c.Context(), c.who.namespace, c.qualified)
	if err != nil {
		return err
	}
	out := packageWithActions{packageDocument: newPackageDocument(p.Package, p.parameters), Actions: []packageAction{}, Feeds: []packageAction{}}
	if p.source.namespace == systemNamespace {
		out.Feeds = nativePackageActions(p.source.name)
		return c.ok(out)
	}
	rows, err := a.Store.ListActions(c.Context(), a.Store.Pool, state.ListActionsParams{
		Namespace: p.source.namespace, Package: p.source.name, Packaged: true, Batch: clamp(c.who.limits.Actions),
	})
	if err != nil {
		return err
	}
	for _, row := range rows {
		x := packageAction{row.Name, row.Version, stored(row.Annotations)}
		if x.Annotations.is("feed") {
			out.Feeds = append(out.Feeds, x)
		} else {
			out.Actions = append(out.Actions, x)
		}
	}
	return c.ok(out)
}

// packagePut is the body of PUT /packages/{name} (WhiskPackagePut).
type packagePut struct {
	Binding     *bound  `json:"binding"`
	Parameters  sent    `json:"parameters"`
	Version     *string `json:"version"`
	Publish     *bool   `json:"publish"`
	Annotations sent    `json:"annotations"`
}

// putPackage serves PUT /packages/{name}.
func (a *API) putPackage(c *call) error {
	overwrite, err := c.flag("overwrite", false)
	if err != nil {
		return err
	}
	if c.name == "default" {
		return refuse(http.StatusBadRequest, "Package name '%s' is reserved.", c.name)
	}
	var put packagePut
	if err := c.decode(&put, entityLimit(c.who.limits)); err != nil {
		return err
	}
	if err := errors.Join(put.Parameters.readParameters(c.who.limits), put.Annotations.readAnnotations(c.who.limits)); err != nil {
		return err
	}
	if put.Binding != nil && put.Binding.Name == "" {
		put.Binding = nil // {}: what GET answers for a package that is no binding
	}
	if err := a.checkBinding(c, put.Binding); err != nil {
		return err
	}
	ctx := c.Context()
	var out packageDocument
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, parameters, err := a.mergePackage(ctx, tx, c, put, overwrite)
		if err != nil {
			return err
		}
		out = newPackageDocument(row, parameters)
		return a.Store.PutPackage(ctx, tx, state.PutPackageParams(row))
	})
	if err != nil {
		return err
	}
	return c.ok(out)
}

// entityLimit is how long a request may be that carries no code.
func entityLimit(l state.Limits) int64 { return 3*l.PayloadBytes + 1<<16 }

// checkBinding looks whether there is such a package that the caller may read.
func (a *API) checkBinding(c *call, b *bound) error {
	if b == nil {
		return nil
	}
	if b.Namespace == "" || b.Namespace == ownNamespace {
		b.Namespace = c.who.namespace
	}
	if !validName(b.Namespace) || !validName(b.Name) {
		return errEntityName
	}
	p, err := a.findPackage(c.Context(), c.who.namespace, qualified{namespace: b.Namespace, name: b.Name})
	switch {
	case refusedWith(err, http.StatusNotFound):
		return errBindingTarget
	case refusedWith(err, http.StatusConflict):
		return refuse(http.StatusConflict, "Cannot bind to a resource that is not a package.")
	case err != nil:
		return err
	}
	if p.BoundName != "" {
		return errBindingOfOther
	}
	return nil
}

// mergePackage is the package as it will be (WhiskPackagesApi, update).
func (a *API) mergePackage(ctx context.Context, tx pgx.Tx, c *call, put packagePut, overwrite bool) (state.Package, keyValues, error) {
	row, err := a.previousPackage(ctx, tx, c, overwrite)
	if err != nil {
		return row, nil, err
	}
	isNew := row.Version == ""
	parameters, err := a.unseal("packages", c.qualified, row.Parameters)
	if err != nil {
		return row, nil, err
	}
	if row.Version, err = nextVersion(put.Version, row.Version); err != nil {
		return row, nil, err
	}
	annotations := stored(row.Annotations)
	if put.Annotations.values != nil {
		annotations = *put.Annotations.values
	}
	if put.Parameters.values != nil {
		parameters = *put.Parameters.values
	}
	if put.Publish != nil {
		row.Publish = *put.Publish
	}
	if put.Binding != nil {
		if !isNew && row.BoundName == "" {
			return row, nil, errBecomeBinding
		}
		row.BoundNamespace, row.BoundName = put.Binding.Namespace, put.Binding.Name
	}
	annotations = annotations.without("binding")
	if row.BoundName != "" {
		annotations = annotations.set("binding", bound{row.BoundNamespace, row.BoundName})
	}
	row.Namespace, row.Name, row.UpdatedAt = c.namespace, c.name, time.Now().Truncate(time.Millisecond)
	row.Annotations, row.Parameters = annotations.encode(), a.seal("packages", c.qualified, parameters)
	return row, parameters, nil
}

// previousPackage is what is there; zero where one may be made.
func (a *API) previousPackage(ctx context.Context, tx pgx.Tx, c *call, overwrite bool) (state.Package, error) {
	row, err := a.Store.PackageNamed(ctx, tx, state.PackageNamedParams{Namespace: c.namespace, Name: c.name})
	if err == nil && !overwrite {
		return row, errExists
	}
	if err == nil || !state.NotFound(err) {
		return row, err
	}
	if err := a.checkCollection(ctx, tx, c.qualified, "packages"); err != nil {
		return state.Package{}, err
	}
	counts, err := a.Store.CountEntities(ctx, tx, c.namespace)
	if err != nil {
		return state.Package{}, err
	}
	return state.Package{}, checkCount("packages", counts.Packages, c.who.limits.Packages)
}

// deletePackage serves DELETE /packages/{name}?force=: of one that is empty, or with
// the actions in it.
func (a *API) deletePackage(c *call) error {
	force, err := c.flag("force", false)
	if err != nil {
		return err
	}
	ctx := c.Context()
	var unused []string
	var gone packageDocument
	err = a.Store.InTx(ctx, func(tx pgx.Tx) error {
		if _, err := a.lock(ctx, tx, c.namespace); err != nil {
			return err
		}
		row, err := a.Store.PackageNamed(ctx, tx, state.PackageNamedParams{Namespace: c.namespace, Name: c.name})
		if state.NotFound(err) {
			return a.missing(ctx, tx, c.qualified, "packages")
		}
		if err != nil {
			return err
		}
		if unused, err = a.emptyPackage(ctx, tx, c.qualified, force); err != nil {
			return err
		}
		parameters, err := a.unseal("packages", c.qualified, row.Parameters)
		if err != nil {
			return err
		}
		gone = newPackageDocument(row, parameters)
		return a.Store.DeletePackage(ctx, tx, state.DeletePackageParams{Namespace: c.namespace, Name: c.name})
	})
	if err != nil {
		return err
	}
	a.forgetUnused(context.WithoutCancel(ctx), unused)
	return c.ok(gone)
}

// emptyPackage refuses a package that has actions; with force it deletes them, and
// returns the hashes of their code. A locked action is not deleted.
func (a *API) emptyPackage(ctx context.Context, tx pgx.Tx, pkg qualified, force bool) ([]string, error) {
	if !force {
		n, err := a.Store.CountActions(ctx, tx, state.CountActionsParams{Namespace: pkg.namespace, Package: pkg.name, Packaged: true})
		if err == nil && n > 0 {
			err = refuse(http.StatusConflict, "Package not empty (contains %d %s)", n, plural(n, "entity", "entities"))
		}
		return nil, err
	}
	rows, err := a.Store.DeleteActionsOfPackage(ctx, tx, state.DeleteActionsOfPackageParams{Namespace: pkg.namespace, Package: pkg.name})
	if err != nil {
		return nil, err
	}
	hashes := make([]string, 0, len(rows))
	for _, row := range rows {
		if stored(row.Annotations).is(lockAnnotation) {
			return nil, locked("deleted")
		}
		hashes = append(hashes, row.CodeHash)
	}
	return hashes, nil
}

func plural(n int64, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// listPackages serves GET /packages: of another namespace the public ones.
func (a *API) listPackages(c *call) error {
	p, err := c.page("packages")
	if err != nil {
		return err
	}
	if c.namespace == systemNamespace {
		return c.ok(nativePackageSummaries())
	}
	public := c.namespace != c.who.namespace
	if p.count {
		n, err := a.Store.CountPackages(c.Context(), a.Store.Pool, state.CountPackagesParams{Namespace: c.namespace, Public: public})
		if err != nil {
			return err
		}
		return c.counted("packages", n, p)
	}
	rows, err := a.Store.ListPackages(c.Context(), a.Store.Pool, state.ListPackagesParams{Namespace: c.namespace, Public: public, Skip: p.skip, Batch: p.limit})
	if err != nil {
		return err
	}
	return listed(c, rows, func(row state.ListPackagesRow) packageSummary {
		s := newSummary(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt)
		return packageSummary{s, bindingOf(row.BoundNamespace, row.BoundName, false)}
	})
}
