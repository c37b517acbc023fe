package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// Each stands in a Quota's selector for every one separately.
const Each = "*"

// mostInstances is a bound that no operator means to exceed.
const mostInstances = 10_000_000

// Quota bounds how many instances there may be at a time. A field that is empty
// selects all together; Each counts every one by itself. Organizations, spaces
// and namespaces are one platform's.
type Quota struct {
	Platform, Organization, Space, Namespace string
	// Service and Plan are nil where the quota is for all of them.
	Service *Service
	Plan    *Plan
	// Instances is how many there may be; 0 is none.
	Instances int
}

// String is the quota's selector in words, such as "each organization, service
// database".
func (q Quota) String() string {
	var words []string
	add := func(what, value string) {
		switch value {
		case "":
		case Each:
			words = append(words, "each "+what)
		default:
			words = append(words, what+" "+value)
		}
	}
	add("platform", q.Platform)
	add("organization", q.Organization)
	add("space", q.Space)
	add("namespace", q.Namespace)
	if q.Service != nil {
		words = append(words, "service "+q.Service.Name)
	}
	if q.Plan != nil {
		words = append(words, "plan "+q.Plan.Name)
	}
	if len(words) == 0 {
		return "all together"
	}
	return strings.Join(words, ", ")
}

// Quotas returns the quotas in the file's order.
func (c *Catalog) Quotas() []Quota { return c.quotas }

func (c *checker) quotas(top object, platforms []Client, offerings []offering) []Quota {
	var quotas []Quota
	first := map[string]*node{}
	for _, n := range top.list("quotas") {
		o := c.object(n, "platform", "organization", "space", "namespace", "service", "plan", "instances")
		o.need("instances")
		if o.node == nil {
			continue
		}
		q := Quota{
			Platform: o.text("platform"), Organization: o.text("organization"), Space: o.text("space"), Namespace: o.text("namespace"),
			Instances: o.whole("instances", 0, mostInstances),
		}
		c.quotaPlatform(n, q, platforms)
		if q.Namespace != "" && (q.Organization != "" || q.Space != "") {
			c.wrong(n.member("namespace"), "an instance is in a namespace, or in an organization and a space; name one of the two")
		}
		if !c.quotaOffering(o, &q, offerings) {
			continue
		}
		if same, ok := first[q.Key()]; ok {
			c.wrong(n, "there is a quota for the same on line %d; remove one of the two", same.line)
		}
		first[q.Key()] = n
		quotas = append(quotas, q)
	}
	return quotas
}

func (c *checker) quotaPlatform(n *node, q Quota, platforms []Client) {
	if q.Platform == "" || q.Platform == Each || len(platforms) == 0 && q.Platform == DefaultPlatform {
		return
	}
	names := []string{}
	for _, p := range platforms {
		names = append(names, p.Name)
	}
	if len(names) == 0 {
		names = []string{DefaultPlatform}
	}
	if !slices.Contains(names, q.Platform) {
		place := n.member("platform")
		c.wrong(place, "%s is no platform; there are %s, and %s for each", show(place), list(names), quote(Each))
	}
}

// quotaOffering fills in the service and the plan; it is false where they were
// left out of the catalog, or are at fault.
func (c *checker) quotaOffering(o object, q *Quota, offerings []offering) bool {
	service, plan := o.text("service"), o.text("plan")
	if service == "" {
		if plan != "" {
			c.wrong(o.node.member("plan"), "is a plan of which service? Name that under service")
		}
		return plan == ""
	}
	if c.left[service] || c.left[service+"/"+plan] {
		return false
	}
	names := []string{}
	for _, offered := range offerings {
		names = append(names, offered.service.Name)
		if offered.service.Name == service {
			q.Service = offered.service
		}
	}
	if q.Service == nil {
		place := o.node.member("service")
		c.wrong(place, "%s is no service; there are %s", show(place), list(names))
		return false
	}
	if plan == "" {
		return true
	}
	names = names[:0]
	for _, p := range q.Service.Plans {
		names = append(names, p.Name)
		if p.Name == plan {
			q.Plan = p
		}
	}
	if q.Plan == nil {
		place := o.node.member("plan")
		c.wrong(place, "%s is no plan of service %s; there are %s", show(place), service, list(names))
	}
	return q.Plan != nil
}

// Key tells the quota from others, whatever catalog it is in.
func (q Quota) Key() string {
	service, plan := "", ""
	if q.Service != nil {
		service = q.Service.ID
	}
	if q.Plan != nil {
		plan = q.Plan.ID
	}
	return fmt.Sprintf("%q %q %q %q %q %q", q.Platform, q.Organization, q.Space, q.Namespace, service, plan)
}
