package operator

import (
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

// Filter selects instances, bindings or operations that match all fields that are set.
type Filter struct {
	Platform, Organization, Space string
	// Service and Plan are names or IDs.
	Service, Plan string
	// Server is a backend, or backend/server.
	Server string
	// Status is one of InstanceStatuses, BindingStatuses or OperationStates.
	Status string
	// Instance selects bindings and operations.
	Instance string
	// Condition selects instances that have one, Behind those whose maintenance version
	// differs from their plan's, and Resource the one of this name on the server.
	Condition, Behind bool
	Resource          string
	// Limit is the most that is returned; 0: no limit.
	Limit int
}

// Selects says whether the filter leaves anything out.
func (f Filter) Selects() bool {
	f.Limit = 0
	return f != Filter{}
}

// InstanceStatuses are the statuses of instances.
func InstanceStatuses() []string {
	return texts(store.Creating, store.Ready, store.CreateFailed, store.DeleteFailed, store.Retained)
}

// BindingStatuses are the statuses of bindings.
func BindingStatuses() []string {
	return texts(store.Creating, store.Ready, store.CreateFailed, store.DeleteFailed, store.Expired)
}

// OperationStates are the states of operations.
func OperationStates() []string { return texts(store.InProgress, store.Succeeded, store.Failed) }

func texts[S ~string](values ...S) []string {
	return convert(values, func(v S) string { return string(v) })
}

// query is a filter with its names looked up in the catalog.
type query struct {
	Filter
	serviceIDs, planIDs []string
	backend, server     string
}

// ofInstance says whether the query selects by fields that only instances have.
func (q query) ofInstance() bool { return q.Organization != "" || q.Space != "" || q.backend != "" }

// query looks up the names of services and plans. A name that the catalog lacks may be
// the ID of one that it once had.
func (o *Operator) query(f Filter, statuses []string) (query, error) {
	q := query{Filter: f}
	if f.Status != "" && !slices.Contains(statuses, f.Status) {
		return q, &ArgumentError{"status", fmt.Sprintf("must be one of %s, not %q", strings.Join(statuses, ", "), f.Status)}
	}
	if f.Limit < 0 {
		return q, &ArgumentError{"limit", "must be a number above 0, or 0 for all"}
	}
	if f.Service != "" {
		q.serviceIDs = []string{f.Service}
	}
	if f.Plan != "" {
		q.planIDs = []string{f.Plan}
	}
	for _, s := range o.Catalog.Services() {
		if s.Name == f.Service {
			q.serviceIDs = append(q.serviceIDs, s.ID)
		}
		for _, p := range s.Plans {
			if p.Name == f.Plan {
				q.planIDs = append(q.planIDs, p.ID)
			}
		}
	}
	if f.Server != "" {
		var named bool
		if q.backend, q.server, named = strings.Cut(f.Server, "/"); !named {
			q.server = catalog.DefaultServer
		}
	}
	return q, nil
}
