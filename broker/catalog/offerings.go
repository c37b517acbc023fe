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

// offeringsReader reads the section "services".
type offeringsReader struct {
	*checker
	backends     backendSet
	ids          map[string]*node
	names        map[string]*node
	dashboardIDs map[string]*node
}

func (c *checker) offerings(top object, backends backendSet) []offering {
	r := offeringsReader{
		checker: c, backends: backends,
		ids: make(map[string]*node), names: make(map[string]*node), dashboardIDs: make(map[string]*node),
	}
	offerings := []offering{}
	for _, n := range top.list("services") {
		offerings = append(offerings, r.offering(n))
	}
	return offerings
}

func (r offeringsReader) offering(n *node) offering {
	o := r.object(n, "id", "name", "description", "tags", "requires", "bindable", "metadata", "dashboard_client",
		"plan_updateable", "instances_retrievable", "bindings_retrievable", "allow_context_updates", "plans")
	o.need("id", "name", "description", "bindable", "plans")
	w := wireService{
		ID:                   r.id(o),
		Name:                 r.name(o, r.names),
		Description:          o.text("description"),
		Tags:                 r.tags(o),
		Requires:             r.requires(o),
		Bindable:             o.flag("bindable", false),
		InstancesRetrievable: o.flag("instances_retrievable", false),
		BindingsRetrievable:  o.flag("bindings_retrievable", false),
		AllowContextUpdates:  o.flag("allow_context_updates", false),
		PlanUpdateable:       o.flag("plan_updateable", false),
		Metadata:             r.metadata(o, reflect.TypeFor[domain.ServiceMetadata](), r.checkServiceMetadata),
		DashboardClient:      r.dashboardClient(o),
	}
	s := &Service{
		ID: w.ID, Name: w.Name, Requires: w.Requires,
		AllowContextUpdates:  w.AllowContextUpdates,
		InstancesRetrievable: w.InstancesRetrievable,
		BindingsRetrievable:  w.BindingsRetrievable,
	}
	names := make(map[string]*node)
	plans := o.list("plans")
	if p := n.member("plans"); p != nil && p.kind == isList && len(plans) == 0 {
		r.wrong(p, "a service needs at least one plan")
	}
	for _, p := range plans {
		plan, wire := r.plan(p, s, w, names)
		s.Plans = append(s.Plans, plan)
		w.Plans = append(w.Plans, wire)
	}
	w.limitUpdates(s)
	return offering{service: s, wire: w}
}

// limitUpdates takes plan_updateable back where no other plan can be reached: a
// platform would offer a change that the broker always refuses, and some retry it
// for days.
func (w *wireService) limitUpdates(s *Service) {
	reached := false
	for i, p := range s.Plans {
		p.Updateable = p.Updateable && p.hasSibling()
		w.Plans[i].PlanUpdateable = p.Updateable
		reached = reached || p.Updateable
	}
	w.PlanUpdateable = w.PlanUpdateable && reached
}

// id reads an ID, which is unique among those of all services and plans.
func (r offeringsReader) id(o object) string {
	id := o.text("id")
	n := o.node.member("id")
	if len(id) > longestID {
		r.wrong(n, "has %d characters; an id has %d at most", len(id), longestID)
	}
	r.unique(n, id, r.ids)
	return id
}

func (r offeringsReader) name(o object, seen map[string]*node) string {
	name := o.text("name")
	n := o.node.member("name")
	if name != "" && !cliName.MatchString(name) {
		r.wrong(n, "must be easy to type: letters, digits, '.' and '-', beginning with a letter or digit")
	}
	r.unique(n, name, seen)
	return name
}

func (r offeringsReader) tags(o object) []string {
	tags := o.texts("tags")
	if joined := len(strings.Join(tags, ",")); joined > longestTags {
		r.wrong(o.node.member("tags"), "the tags have %d characters together; Cloud Foundry accepts %d, so shorten them",
			joined, longestTags)
	}
	return tags
}

func (r offeringsReader) requires(o object) []string {
	permissions := []string{"syslog_drain", "route_forwarding", "volume_mount"}
	requires := o.texts("requires")
	for _, n := range o.list("requires") {
		if n.kind == isText && !slices.Contains(permissions, n.text) {
			r.wrong(n, "%s is no permission; there are %s", show(n), list(permissions))
		}
	}
	return requires
}

func (r offeringsReader) dashboardClient(o object) *wireDashboardClient {
	n := o.node.member("dashboard_client")
	if n == nil {
		return nil
	}
	d := r.object(n, "id", "secret", "redirect_uri")
	d.need("id", "secret", "redirect_uri")
	w := &wireDashboardClient{ID: d.text("id"), Secret: d.text("secret"), RedirectURI: d.text("redirect_uri")}
	r.unique(n.member("id"), w.ID, r.dashboardIDs)
	if w.RedirectURI != "" && !isWebURL(w.RedirectURI) {
		r.wrong(n.member("redirect_uri"), "must be an absolute http or https URL")
	}
	return w
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// metadata reads an object whose keys are free, apart from the conventional
// ones that check looks at; some clients stop at these in a wrong type.
func (r offeringsReader) metadata(o object, target reflect.Type, check func(*node)) json.RawMessage {
	n := o.node.member("metadata")
	if n == nil {
		return nil
	}
	if n.kind != isMapping {
		r.wrong(n, "must be a mapping, not %s", n.kind)
		return nil
	}
	check(n)
	var metadata json.RawMessage
	r.config(o.node, n, target, func(raw json.RawMessage) error {
		metadata = raw
		return nil
	})
	return metadata
}
