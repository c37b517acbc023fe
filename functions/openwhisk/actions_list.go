package openwhisk

import (
	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// actionSummary is an action in a list.
type actionSummary struct {
	summary
	Limits actionLimits `json:"limits"`
	Exec   struct {
		Binary bool `json:"binary"`
	} `json:"exec"`
}

func newActionSummary(row state.ListActionsRow) actionSummary {
	s := actionSummary{
		summary: newSummary(qualified{row.Namespace, row.Package, row.Name}, row.Version, row.Publish, row.Annotations, row.UpdatedAt),
		Limits:  actionLimits{int64(row.TimeoutMs), int64(row.MemoryMb), int64(row.LogsMb), 1},
	}
	s.Exec.Binary = sandboxKind(row.Kind) == sandbox.WASM
	return s
}

// listActions serves GET /actions: of all packages.
func (a *API) listActions(c *call) error {
	return a.listActionsOf(c, state.ListActionsParams{Namespace: c.namespace})
}

// listPackageActions serves GET /actions/{package}/: where that is a binding, the
// actions of what it is bound to.
func (a *API) listPackageActions(c *call) error {
	at, _, err := a.locate(c)
	if err != nil {
		return err
	}
	if at.namespace == systemNamespace {
		return c.ok(nativeSummaries(at.pkg))
	}
	return a.listActionsOf(c, state.ListActionsParams{Namespace: at.namespace, Package: at.pkg, Packaged: true})
}

func (a *API) listActionsOf(c *call, what state.ListActionsParams) error {
	p, err := c.page("actions")
	if err != nil {
		return err
	}
	if p.count {
		n, err := a.Store.CountActions(c.Context(), a.Store.Pool, state.CountActionsParams{Namespace: what.Namespace, Package: what.Package, Packaged: what.Packaged})
		if err != nil {
			return err
		}
		return c.counted("actions", n, p)
	}
	what.Skip, what.Batch = p.skip, p.limit
	rows, err := a.Store.ListActions(c.Context(), a.Store.Pool, what)
	if err != nil {
		return err
	}
	return listed(c, rows, newActionSummary)
}
