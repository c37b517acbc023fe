package openwhisk

import (
	"cmp"
	"context"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/functions/state"
)

// whiskPackage is a package or a package binding.
type whiskPackage struct {
	entity
	bound qualified // the package that a binding binds; zero in others
}

// source is where the package's actions are: in itself, or in the package that it binds.
func (p whiskPackage) source() qualified { return cmp.Or(p.bound, p.qualified) }

func (a *API) newPackage(row state.Package) (whiskPackage, error) {
	q := qualified{namespace: row.Namespace, name: row.Name}
	p := whiskPackage{
		newEntity(q, row.Version, row.Publish, row.Annotations, row.UpdatedAt),
		qualified{namespace: row.BoundNamespace, name: row.BoundName},
	}
	var err error
	p.parameters, err = a.unseal("packages", q, row.Parameters)
	return p, err
}

// locate finds what the path names through its package and binding, and the inherited parameters.
func (a *API) locate(c *call) (qualified, keyValues, error) {
	if c.pkg == "" {
		if c.namespace != c.who.namespace {
			return qualified{}, nil, forbidden(c.namespace, c.local())
		}
		return c.qualified, nil, nil
	}
	p, err := a.findPackage(c.Context(), c.who.namespace, qualified{namespace: c.namespace, name: c.pkg})
	return qualified{p.source().namespace, p.source().name, c.name}, p.parameters, err
}

// findPackage reads a package on behalf of a namespace; a binding inherits the parameters
// of the package that it binds. Both must be public if they belong to another namespace.
func (a *API) findPackage(ctx context.Context, caller string, q qualified) (whiskPackage, error) {
	found, err := a.readPackage(ctx, caller, q)
	if err != nil || found.bound.name == "" {
		return found, err
	}
	provider, err := a.readPackage(ctx, caller, found.bound)
	if err == nil && provider.bound.name != "" {
		err = errNotFound // the bound package was deleted and created again as a binding
	}
	found.parameters = provider.parameters.merged(found.parameters)
	return found, err
}

// readPackage reads one package, and not the one that it binds.
func (a *API) readPackage(ctx context.Context, caller string, q qualified) (whiskPackage, error) {
	if q.namespace == systemNamespace {
		return nativePackage(q.name)
	}
	row, err := a.Store.PackageNamed(ctx, a.Store.Pool, state.PackageNamedParams{Namespace: q.namespace, Name: q.name})
	if err != nil && !state.NotFound(err) {
		return whiskPackage{}, err
	}
	if q.namespace != caller && (err != nil || !row.Publish) {
		return whiskPackage{}, forbidden(q.namespace, q.name) // whether or not it exists
	}
	if err != nil {
		return whiskPackage{}, a.missing(ctx, a.Store.Pool, q, "packages", err)
	}
	return a.newPackage(row)
}

type packageSummary struct {
	summary
	Binding any `json:"binding"` // of a package that is no binding: false in lists, {} elsewhere
}

type bound struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

func (p whiskPackage) summary(noBinding any) packageSummary {
	s := packageSummary{p.entity.summary(), noBinding}
	if p.bound.name != "" {
		s.Binding = bound{p.bound.namespace, p.bound.name}
	}
	return s
}

type packageDocument struct {
	packageSummary
	Parameters keyValues `json:"parameters"`
}

func (p whiskPackage) document() packageDocument {
	return packageDocument{p.summary(struct{}{}), p.parameters}
}

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

// getPackage serves GET /packages/{name}, with inherited parameters and the package's
// actions. Everything else in the answer about a binding is its own.
func (a *API) getPackage(c *call) error {
	p, err := a.findPackage(c.Context(), c.who.namespace, c.qualified)
	if err != nil {
		return err
	}
	actions, err := a.actionsOf(c, p.source())
	out := packageWithActions{packageDocument: p.document(), Actions: []packageAction{}, Feeds: []packageAction{}}
	for _, x := range actions {
		to := &out.Actions
		if x.annotations.is("feed") {
			to = &out.Feeds
		}
		*to = append(*to, packageAction{x.name, x.version, x.annotations})
	}
	return c.reply(out, err)
}

func (a *API) actionsOf(c *call, source qualified) (actions []entity, err error) {
	if source.namespace == systemNamespace {
		for _, x := range nativesOf(source.name) {
			actions = append(actions, x.entity)
		}
		return actions, nil
	}
	rows, err := a.Store.ListActions(c.Context(), a.Store.Pool, state.ListActionsParams{
		Namespace: source.namespace, Package: source.name, Packaged: true, Batch: clamp(c.who.limits.Actions),
	})
	for _, row := range rows {
		x, _ := a.newAction(state.ActionRow(row)) // fails only if there are parameters
		actions = append(actions, x.entity)
	}
	return actions, err
}

type packagePut struct {
	entityPut
	Binding *bound `json:"binding"`
}

func (a *API) putPackage(c *call) error {
	if c.name == "default" {
		return refuse(http.StatusBadRequest, "Package name '%s' is reserved.", c.name)
	}
	var put packagePut
	overwrite, err := c.readPut(&put, &put.entityPut)
	if err != nil {
		return err
	}
	if put.Binding != nil && put.Binding.Name == "" {
		put.Binding = nil // {}: what GET answers for a package that is no binding
	}
	if err := a.checkBinding(c, put.Binding); err != nil {
		return err
	}
	return c.reply(lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (packageDocument, error) {
		p, err := a.mergePackage(ctx, tx, c, put, overwrite)
		if err != nil {
			return packageDocument{}, err
		}
		return p.document(), a.Store.PutPackage(ctx, tx, state.PutPackageParams{
			Namespace: p.namespace, Name: p.name, Version: p.version, Publish: p.publish, Annotations: p.annotations.encode(),
			Parameters: a.seal("packages", p.entity), BoundNamespace: p.bound.namespace, BoundName: p.bound.name, UpdatedAt: p.updated,
		})
	}))
}

// checkBinding checks that the bound package exists and that the caller may read it.
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
		return refuse(http.StatusBadRequest, "Binding references a package that does not exist.")
	case refusedWith(err, http.StatusConflict):
		return refuse(http.StatusConflict, "Cannot bind to a resource that is not a package.")
	case err == nil && p.bound.name != "":
		return refuse(http.StatusBadRequest, "Cannot bind to another package binding.")
	}
	return err
}

// mergePackage merges the request into the existing package (WhiskPackagesApi, update).
func (a *API) mergePackage(ctx context.Context, tx pgx.Tx, c *call, put packagePut, overwrite bool) (p whiskPackage, err error) {
	row, err := a.Store.PackageNamed(ctx, tx, state.PackageNamedParams{Namespace: c.namespace, Name: c.name})
	exists, err := a.checkPut(ctx, tx, c, "packages", overwrite, err)
	if err != nil {
		return p, err
	}
	if p, err = a.newPackage(row); err != nil {
		return p, err
	}
	p.entity, err = put.apply(c.qualified, p.entity)
	if err == nil && put.Binding != nil {
		if exists && p.bound.name == "" {
			return p, refuse(http.StatusConflict, "Resource is a package and cannot be converted into a binding.")
		}
		p.bound = qualified{namespace: put.Binding.Namespace, name: put.Binding.Name}
	}
	p.annotations = p.annotations.without("binding")
	if p.bound.name != "" {
		p.annotations = p.annotations.set("binding", bound{p.bound.namespace, p.bound.name})
	}
	return p, err
}

// deletePackage deletes a package, with force including its actions.
func (a *API) deletePackage(c *call) error {
	q := c.query()
	force := q.flag("force", false)
	if q.err != nil {
		return q.err
	}
	var unused []string
	deleted, err := lockedChange(a, c, func(ctx context.Context, tx pgx.Tx) (d packageDocument, err error) {
		row, err := a.Store.PackageNamed(ctx, tx, state.PackageNamedParams{Namespace: c.namespace, Name: c.name})
		if err != nil {
			return d, a.missing(ctx, tx, c.qualified, "packages", err)
		}
		if unused, err = a.emptyPackage(ctx, tx, c.qualified, force); err != nil {
			return d, err
		}
		p, err := a.newPackage(row)
		if err != nil {
			return d, err
		}
		return p.document(), a.Store.DeletePackage(ctx, tx, state.DeletePackageParams{Namespace: c.namespace, Name: c.name})
	})
	if err == nil {
		a.forgetUnused(context.WithoutCancel(c.Context()), unused...)
	}
	return c.reply(deleted, err)
}

// emptyPackage refuses a package with actions, or with force deletes them unless one is locked.
func (a *API) emptyPackage(ctx context.Context, tx pgx.Tx, pkg qualified, force bool) (hashes []string, err error) {
	if !force {
		n, err := a.Store.CountActions(ctx, tx, state.CountActionsParams{Namespace: pkg.namespace, Package: pkg.name, Packaged: true})
		switch {
		case err == nil && n == 1:
			err = refuse(http.StatusConflict, "Package not empty (contains 1 entity)")
		case err == nil && n > 1:
			err = refuse(http.StatusConflict, "Package not empty (contains %d entities)", n)
		}
		return nil, err
	}
	rows, err := a.Store.DeleteActionsOfPackage(ctx, tx, state.DeleteActionsOfPackageParams{Namespace: pkg.namespace, Package: pkg.name})
	for _, row := range rows {
		if decodeKeyValues(row.Annotations).is(lockAnnotation) {
			return nil, refuseLocked("deleted")
		}
		hashes = append(hashes, row.CodeHash)
	}
	return hashes, err
}

// listPackages serves GET /packages; of another namespace it lists the public ones.
func (a *API) listPackages(c *call) error {
	if q := c.query(); c.namespace == systemNamespace {
		q.page("packages")
		return c.reply(nativePackages(), q.err)
	}
	ctx, db, public := c.Context(), a.Store.Pool, c.namespace != c.who.namespace
	return listEntities(c, "packages",
		func() (int64, error) {
			return a.Store.CountPackages(ctx, db, state.CountPackagesParams{Namespace: c.namespace, Public: public})
		},
		func(p page) ([]state.ListPackagesRow, error) {
			return a.Store.ListPackages(ctx, db, state.ListPackagesParams{Namespace: c.namespace, Public: public, Skip: p.skip, Batch: p.limit})
		},
		func(row state.ListPackagesRow) packageSummary {
			e := newEntity(qualified{namespace: row.Namespace, name: row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt)
			return whiskPackage{e, qualified{namespace: row.BoundNamespace, name: row.BoundName}}.summary(false)
		})
}
