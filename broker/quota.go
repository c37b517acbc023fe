package broker

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
)

// applies reports whether the quota counts the instance.
func applies(q catalog.Quota, i store.Instance) bool {
	matches := func(selector, value string) bool {
		return selector == "" || selector == catalog.Each && value != "" || selector == value
	}
	return matches(q.Platform, i.Platform) && matches(q.Organization, i.OrganizationID) && matches(q.Space, i.SpaceID) &&
		matches(q.Namespace, i.Namespace) && (q.Service == nil || q.Service.ID == i.ServiceID) && (q.Plan == nil || q.Plan.ID == i.PlanID)
}

// quotaFilter selects the other instances that the quota counts together with this one.
func quotaFilter(q catalog.Quota, i store.Instance) store.Filter {
	only := func(selector, value string) string {
		if selector == "" {
			return ""
		}
		return value
	}
	f := store.Filter{
		Platform:       only(q.Platform+q.Organization+q.Space+q.Namespace, i.Platform),
		OrganizationID: only(q.Organization, i.OrganizationID), SpaceID: only(q.Space, i.SpaceID), Namespace: only(q.Namespace, i.Namespace),
		Except: i.ID,
	}
	if q.Service != nil {
		f.ServiceID = q.Service.ID
	}
	if q.Plan != nil {
		f.PlanID = q.Plan.ID
	}
	return f
}

// checkQuotas refuses an instance that would exceed a quota. For an update, have is the
// instance as it is; only quotas that do not count it already are checked. Others that
// check the same quotas wait until the transaction ends.
func (b *Broker) checkQuotas(ctx context.Context, tx *store.Tx, want store.Instance, have *store.Instance) error {
	type check struct {
		key    string
		quota  catalog.Quota
		filter store.Filter
	}
	var checks []check
	for _, q := range b.Catalog.Quotas() {
		if applies(q, want) && (have == nil || !applies(q, *have)) {
			f := quotaFilter(q, want)
			key := fmt.Sprintf("%s of %q %q %q %q", q.Key(), f.Platform, f.OrganizationID, f.SpaceID, f.Namespace)
			checks = append(checks, check{key, q, f})
		}
	}
	// In the same order everywhere, to avoid deadlocks.
	slices.SortFunc(checks, func(a, b check) int { return cmp.Compare(a.key, b.key) })
	for _, c := range checks {
		if err := b.Store.LockQuota(ctx, tx, c.key); err != nil {
			return err
		}
		n, err := b.Store.CountInstances(ctx, tx, c.filter)
		if err != nil {
			return err
		}
		if n >= c.quota.Instances {
			return overQuota(c.quota, want, n)
		}
	}
	return nil
}

func overQuota(q catalog.Quota, want store.Instance, n int) error {
	who, what := "this broker", "instances"
	switch {
	case q.Namespace != "":
		who = fmt.Sprintf("namespace %q", want.Namespace)
	case q.Space != "":
		who = fmt.Sprintf("space %q", cmp.Or(contextText(want.Context, "space_name"), want.SpaceID))
	case q.Organization != "":
		who = fmt.Sprintf("organization %q", cmp.Or(contextText(want.Context, "organization_name"), want.OrganizationID))
	case q.Platform != "":
		who = fmt.Sprintf("platform %q", want.Platform)
	}
	if q.Service != nil {
		what += fmt.Sprintf(" of service %q", q.Service.Name)
	}
	if q.Plan != nil {
		what += fmt.Sprintf(", plan %q", q.Plan.Name)
	}
	if q.Instances == 0 {
		return fail(Unsupported, "%s may have no %s; ask the operator of this broker for a quota", who, what)
	}
	return fail(Unsupported, "%s has %d of the %d %s that it may have; delete one, or ask the operator of this broker for more", who, n, q.Instances, what)
}

// namespace is the Kubernetes namespace that a platform's context names.
func namespace(platformContext json.RawMessage) string {
	return contextText(platformContext, "namespace")
}

// contextText returns a text from a platform's context (OSB, "Context Object"), or "".
func contextText(platformContext json.RawMessage, key string) string {
	var members map[string]any
	if json.Unmarshal(platformContext, &members) != nil {
		return ""
	}
	text, _ := members[key].(string)
	if strings.ContainsRune(text, 0) { // PostgreSQL's text cannot contain it
		return ""
	}
	return text
}
