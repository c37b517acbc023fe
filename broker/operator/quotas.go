package operator

import (
	"context"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

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
