package catalog

import (
	"encoding/json"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

const (
	// longestID is what the broker accepts in a request.
	longestID = 255
	// longestTags is what Cloud Foundry accepts of a service's tags, joined.
	longestTags = 2048
)

// cliName is a "CLI-friendly" name (OSB 2.17, "Service Offering Object").
var cliName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,254}$`)

// servicesReader reads the section "services".
type servicesReader struct {
	*checker
	backends                 backendSet
	ids, names, dashboardIDs map[string]*node
}

func (c *checker) services(section []*node, backends backendSet) []*Service {
	r := servicesReader{c, backends, map[string]*node{}, map[string]*node{}, map[string]*node{}}
	services := []*Service{}
	for _, n := range section {
		services = append(services, r.service(n))
	}
	return services
}

func (r servicesReader) service(n *node) *Service {
	s := &Service{Tags: []string{}, Requires: []string{}}
	if !r.read(n, s) {
		return s
	}
	r.checkNames(n, s.ID, s.Name, r.names)
	if joined := len(strings.Join(s.Tags, ",")); joined > longestTags {
		r.wrong(n.member("tags"), "the tags have %d characters together; Cloud Foundry accepts %d, so shorten them", joined, longestTags)
	}
	r.checkRequires(n.member("requires"))
	if s.DashboardClient != nil {
		r.unique(n.member("dashboard_client").member("id"), s.DashboardClient.ID, r.dashboardIDs)
	}
	s.Metadata = r.metadata(n, reflect.TypeFor[domain.ServiceMetadata](), r.checkServiceMetadata)
	plans := n.member("plans")
	names := map[string]*node{}
	for _, p := range r.list(plans) {
		s.Plans = append(s.Plans, r.plan(p, s, names))
	}
	if plans != nil && plans.kind == isList && len(s.Plans) == 0 {
		r.wrong(plans, "a service needs at least one plan")
	}
	s.limitUpdates()
	return s
}

// limitUpdates clears plan_updateable if no other plan can be reached: a platform would
// offer a change that the broker always refuses, and some retry it for days.
func (s *Service) limitUpdates() {
	reached := false
	for _, p := range s.Plans {
		p.Updateable = p.Updateable && p.hasSibling()
		reached = reached || p.Updateable
	}
	s.PlanUpdateable = s.PlanUpdateable && reached
}

// checkNames checks the ID of a service or plan, which is unique among those of all
// services and plans, and its name.
func (r servicesReader) checkNames(n *node, id, name string, names map[string]*node) {
	if len(id) > longestID {
		r.wrong(n.member("id"), "has %d characters; an id has %d at most", len(id), longestID)
	}
	if name != "" && !cliName.MatchString(name) {
		r.wrong(n.member("name"), "must be easy to type: letters, digits, '.' and '-', beginning with a letter or digit")
	}
	r.unique(n.member("id"), id, r.ids)
	r.unique(n.member("name"), name, names)
}

func (r servicesReader) checkRequires(n *node) {
	if n == nil {
		return
	}
	permissions := []string{"syslog_drain", "route_forwarding", "volume_mount"}
	for _, item := range n.items {
		if item.kind == isText && !slices.Contains(permissions, item.text) {
			r.wrong(item, "%s is not a permission; the permissions are %s", show(item), list(permissions))
		}
	}
}

func (d *dashboardClient) check(c *checker, n *node) {
	if d.RedirectURI != "" && !isWebURL(d.RedirectURI) {
		c.wrong(n.member("redirect_uri"), "must be an absolute http or https URL")
	}
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// metadata reads an object with free keys. check examines the conventional ones: some
// clients fail if one has the wrong type.
func (r servicesReader) metadata(owner *node, target reflect.Type, check func(*node)) (metadata json.RawMessage) {
	n := owner.member("metadata")
	if n == nil {
		return nil
	}
	if n.kind == isMapping {
		check(n)
	}
	r.config(owner, n, target, func(raw json.RawMessage) error {
		metadata = raw
		return nil
	})
	return metadata
}

// checkServiceMetadata checks the conventional keys of a service's metadata (OSB
// profile, "Service Metadata").
func (r servicesReader) checkServiceMetadata(n *node) {
	for _, key := range []string{"displayName", "longDescription", "providerDisplayName"} {
		r.text(n.member(key))
	}
	for _, key := range []string{"documentationUrl", "supportUrl"} {
		if text := r.text(n.member(key)); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "mailto:") {
			r.wrong(n.member(key), "must be an absolute http or https URL")
		}
	}
	if text := r.text(n.member("imageUrl")); text != "" && !isWebURL(text) && !strings.HasPrefix(text, "data:image/") {
		r.wrong(n.member("imageUrl"), "must be an absolute http or https URL or an image as a data: URL")
	}
	if shareable := n.member("shareable"); shareable != nil {
		r.flag(shareable, new(bool))
	}
}

// checkPlanMetadata checks the conventional keys of a plan's metadata (OSB
// profile, "Plan Metadata").
func (r servicesReader) checkPlanMetadata(n *node) {
	r.text(n.member("displayName"))
	r.texts(n.member("bullets"))
	for _, item := range r.list(n.member("costs")) {
		var cost struct {
			Amount *node  `yaml:"amount,required"`
			Unit   string `yaml:"unit,required"`
		}
		if r.read(item, &cost) {
			r.checkAmount(cost.Amount)
		}
	}
}

func (r servicesReader) checkAmount(n *node) {
	if n == nil {
		return
	}
	if n.kind != isMapping || len(n.keys) == 0 {
		r.wrong(n, "must be a mapping from currencies to numbers, such as {usd: 9.5}")
		return
	}
	for _, item := range n.items {
		if item.kind != isNumber && !(item.lone && isJSONNumber(item.text)) {
			r.wrong(item, "must be a number, not %s", item.kind)
		}
	}
}
