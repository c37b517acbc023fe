package operator

import (
	"context"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// Server is a server of a backend; sizes are in bytes.
type Server struct {
	Server string `json:"server"`
	Ready  bool   `json:"ready"`
	// Reason says why the server is not ready.
	Reason  string `json:"reason,omitempty"`
	Drained bool   `json:"drained"`
	// Instances are on the server; the catalog allows MostInstances (0: any number).
	Instances     int     `json:"instances"`
	MostInstances int     `json:"capacity_instances,omitempty"`
	Storage       Amounts `json:"storage"`
	Memory        Amounts `json:"memory"`
}

// Amounts are how much the plans of a server's instances promise, how much the catalog
// allows to be promised, and what the server reports; 0: unknown.
type Amounts struct {
	Promised services.Size `json:"promised"`
	Capacity services.Size `json:"capacity,omitempty"`
	Free     services.Size `json:"free,omitempty"`
	Total    services.Size `json:"total,omitempty"`
}

func newServer(l placement.Load) Server {
	c := l.Server.Capacity
	return Server{
		Server: l.Server.Key(), Ready: l.Unreachable == "", Reason: l.Unreachable, Drained: l.Server.Drain,
		Instances: l.Instances, MostInstances: c.Instances,
		Storage: Amounts{l.Promised.Storage, c.Storage, l.Free.Storage, l.Total.Storage},
		Memory:  Amounts{l.Promised.Memory, c.Memory, l.Free.Memory, l.Total.Memory},
	}
}

// Servers asks the servers of all backends how they are and lists them.
func (o *Operator) Servers(ctx context.Context) ([]Server, error) {
	o.Placement.Check(ctx, o.Catalog.Servers())
	rows := []Server{}
	for _, b := range o.Catalog.Backends() {
		loads, err := o.Placement.Loads(ctx, o.Store.Pool, b.Name, "")
		if err != nil {
			return nil, err
		}
		rows = append(rows, convert(loads, newServer)...)
	}
	return rows, nil
}

// QuotaUse is how much of a quota one of its subjects uses.
type QuotaUse struct {
	Quota        string `json:"quota"`
	Platform     string `json:"platform,omitempty"`
	Organization string `json:"organization,omitempty"`
	Space        string `json:"space,omitempty"`
	Namespace    string `json:"namespace,omitempty"`
	Used         int    `json:"used"`
	Allowed      int    `json:"allowed"`
}

// MostSubjects is how many subjects of a quota are listed.
const MostSubjects = 20

// Quotas lists the catalog's quotas, each with the subjects that use most of it.
func (o *Operator) Quotas(ctx context.Context) ([]QuotaUse, error) {
	rows := []QuotaUse{}
	for _, q := range o.Catalog.Quotas() {
		used, err := o.quotaUse(ctx, q)
		if err != nil {
			return nil, err
		}
		rows = append(rows, used...)
	}
	return rows, nil
}

func (o *Operator) quotaUse(ctx context.Context, q catalog.Quota) ([]QuotaUse, error) {
	name := func(selector string) string {
		if selector == catalog.Each {
			return ""
		}
		return selector
	}
	f := store.Filter{Platform: name(q.Platform), OrganizationID: name(q.Organization), SpaceID: name(q.Space), Namespace: name(q.Namespace)}
	if q.Service != nil {
		f.ServiceID = q.Service.ID
	}
	if q.Plan != nil {
		f.PlanID = q.Plan.ID
	}
	local := q.Organization != "" || q.Space != "" || q.Namespace != ""
	each := store.GroupBy{
		Platform: q.Platform != "" || local, Organization: q.Organization != "", Space: q.Space != "", Namespace: q.Namespace != "",
	}
	subjects, err := o.Store.CountSubjects(ctx, o.Store.Pool, f, each, MostSubjects)
	if err != nil {
		return nil, err
	}
	if len(subjects) == 0 {
		return []QuotaUse{{Quota: q.String(), Allowed: q.Instances}}, nil
	}
	return convert(subjects, func(s store.Subject) QuotaUse {
		return QuotaUse{q.String(), s.Platform, s.OrganizationID, s.SpaceID, s.Namespace, s.Instances, q.Instances}
	}), nil
}
