package main

import (
	"context"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

// quotaUse is how much of a quota one of its subjects uses.
type quotaUse struct {
	Quota        string `json:"quota"`
	Platform     string `json:"platform,omitempty"`
	Organization string `json:"organization,omitempty"`
	Space        string `json:"space,omitempty"`
	Namespace    string `json:"namespace,omitempty"`
	Used         int    `json:"used"`
	Allowed      int    `json:"allowed"`
}

// subjects is how many subjects of a quota are listed.
const subjects = 20

func newQuotas() *cobra.Command {
	var flags operatorFlags
	cmd := flags.verb("quotas", "How much of the catalog's quotas is used", cobra.NoArgs, openOptions{stateOnly: true},
		func(ctx context.Context, a *app, w io.Writer, _ []string) error {
			var rows []quotaUse
			for _, q := range a.catalog.Quotas() {
				used, err := a.quotaUse(ctx, q)
				if err != nil {
					return err
				}
				rows = append(rows, used...)
			}
			return printRows(w, flags.output, rows, []string{"QUOTA", "PLATFORM", "ORGANIZATION", "SPACE", "NAMESPACE", "USED", "ALLOWED"},
				func(u quotaUse) []string {
					return []string{u.Quota, u.Platform, u.Organization, u.Space, u.Namespace, strconv.Itoa(u.Used), strconv.Itoa(u.Allowed)}
				})
		})
	cmd.Long = `Quotas lists the quotas of the catalog with how many instances there are of how many
that may be; where a quota is for each of something, the 20 that use most of it.`
	return cmd
}

func (a *app) quotaUse(ctx context.Context, q catalog.Quota) ([]quotaUse, error) {
	one := func(selector string) string {
		if selector == catalog.Each {
			return ""
		}
		return selector
	}
	f := store.Filter{
		Platform: one(q.Platform), OrganizationID: one(q.Organization), SpaceID: one(q.Space), Namespace: one(q.Namespace),
	}
	if q.Service != nil {
		f.ServiceID = q.Service.ID
	}
	if q.Plan != nil {
		f.PlanID = q.Plan.ID
	}
	local := q.Organization != "" || q.Space != "" || q.Namespace != ""
	each := store.Each{
		Platform: q.Platform != "" || local, Organization: q.Organization != "", Space: q.Space != "", Namespace: q.Namespace != "",
	}
	found, err := a.store.CountSubjects(ctx, a.store.Pool, f, each, subjects)
	if err != nil {
		return nil, err
	}
	var rows []quotaUse
	for _, s := range found {
		rows = append(rows, quotaUse{q.String(), s.Platform, s.OrganizationID, s.SpaceID, s.Namespace, s.Instances, q.Instances})
	}
	if len(rows) == 0 {
		rows = []quotaUse{{Quota: q.String(), Allowed: q.Instances}}
	}
	return rows, nil
}
