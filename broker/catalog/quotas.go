package catalog

import (
	"fmt"
	"slices"
	"strings"
)

// Each in a Quota's selector counts every one separately.
const Each = "*"

// Quota bounds how many instances may exist at a time. An empty field selects all together;
// Each counts every one by itself. Organizations, spaces and namespaces are one platform's.
type Quota struct {
	Platform     string `yaml:"platform"`
	Organization string `yaml:"organization"`
	Space        string `yaml:"space"`
	Namespace    string `yaml:"namespace"`
	// Service and Plan are nil if the quota is for all of them.
	Service *Service `yaml:"service,raw"`
	Plan    *Plan    `yaml:"plan,raw"`
	// Instances is how many may exist; 0 forbids all.
	Instances int `yaml:"instances,required" bounds:"0-10000000"`
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

func (c *checker) quotas(section []*node, platforms []Client, services []*Service) []Quota {
	var quotas []Quota
	first := map[string]*node{}
	for _, n := range section {
		var q Quota
		if !c.read(n, &q) {
			continue
		}
		c.quotaPlatform(n.member("platform"), q, platforms)
		if q.Namespace != "" && (q.Organization != "" || q.Space != "") {
			c.wrong(n.member("namespace"), "an instance is in a namespace, or in an organization and a space; name one of the two")
		}
		if !c.quotaPlan(n, &q, services) {
			continue
		}
		if same, ok := first[q.Key()]; ok {
			c.wrong(n, "selects the same as the quota on line %d; remove one of the two", same.line)
		}
		first[q.Key()] = n
		quotas = append(quotas, q)
	}
	return quotas
}

func (c *checker) quotaPlatform(n *node, q Quota, platforms []Client) {
	if q.Platform == "" || q.Platform == Each {
		return
	}
	names := each(platforms, func(p Client) string { return p.Name })
	if len(names) == 0 {
		names = []string{DefaultPlatform}
	}
	if !slices.Contains(names, q.Platform) {
		c.wrong(n, "%s is not a platform; the platforms are %s, and %s for each", show(n), list(names), quote(Each))
	}
}

// quotaPlan looks up the service and the plan; it is false if they are at fault or were
// left out of the catalog.
func (c *checker) quotaPlan(n *node, q *Quota, services []*Service) bool {
	atService, atPlan := n.member("service"), n.member("plan")
	service, plan := c.text(atService), c.text(atPlan)
	switch {
	case service == "" && plan == "":
		return true
	case service == "":
		c.wrong(atPlan, "is a plan of which service? Name that under service")
		return false
	case c.left[service] || c.left[service+"/"+plan]:
		return false
	}
	i := slices.IndexFunc(services, func(s *Service) bool { return s.Name == service })
	if i < 0 {
		names := each(services, func(s *Service) string { return s.Name })
		c.wrong(atService, "%s is not a service; the services are %s", show(atService), list(names))
		return false
	}
	q.Service = services[i]
	if plan == "" {
		return true
	}
	i = slices.IndexFunc(q.Service.Plans, func(p *Plan) bool { return p.Name == plan })
	if i < 0 {
		names := each(q.Service.Plans, func(p *Plan) string { return p.Name })
		c.wrong(atPlan, "%s is not a plan of service %s; its plans are %s", show(atPlan), service, list(names))
		return false
	}
	q.Plan = q.Service.Plans[i]
	return true
}

// Key identifies the quota in any catalog.
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
