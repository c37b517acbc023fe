package catalog

import (
	"cmp"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

func (r servicesReader) plan(n *node, s *Service, names map[string]*node) *Plan {
	p := &Plan{
		Service: s, Free: true, Bindable: s.Bindable, Updateable: s.PlanUpdateable,
		MaximumPollingDuration: DefaultMaximumPollingDuration,
	}
	if !r.read(n, p) {
		return p
	}
	r.checkNames(n, p.ID, p.Name, names)
	p.Metadata = r.metadata(n, reflect.TypeFor[domain.ServicePlanMetadata](), r.checkPlanMetadata)
	if p.PollingSeconds > 0 {
		p.MaximumPollingDuration = time.Duration(p.PollingSeconds) * time.Second
	}
	if p.MaintenanceInfo != nil {
		p.MaintenanceVersion = p.MaintenanceInfo.Version
	}
	r.checkDashboardURL(n.member("dashboard_url"), p)
	r.checkDelivery(n.member("delivery"), p.Delivery)
	r.bindingRules(n, p)
	r.planBackend(n, p)
	return p
}

// bindingRules checks the keys that depend on one another.
func (r servicesReader) bindingRules(n *node, p *Plan) {
	for _, rule := range []struct {
		key string
		set bool
	}{{"binding_rotatable", p.Rotatable}, {"requires_app", p.RequiresApp}, {"binding_lifetime", p.BindingLifetime > 0}} {
		if rule.set && !p.Bindable {
			r.wrong(n.member(rule.key), "the plan is not bindable; remove this, or set bindable: true")
		}
	}
	if p.BindingRenewBefore > 0 && p.BindingRenewBefore >= p.BindingLifetime {
		r.wrong(n.member("binding_renew_before"), "is the time before the end of binding_lifetime, and has to be shorter than that")
	}
	if p.RequiresAsync && p.Bindable && !p.Service.BindingsRetrievable {
		r.wrong(n.member("requires_async"), "platforms can only fetch asynchronous bindings; set bindings_retrievable: true at the service")
	}
}

// planBackend reads what depends on the plan's backend.
func (r servicesReader) planBackend(n *node, p *Plan) {
	if p.Backend == "" {
		return
	}
	b, ok := r.backends.byName[p.Backend]
	if !ok {
		r.unknownBackend(n.member("backend"))
		return
	}
	p.BackendType = cmp.Or(b.Definition.Replaces.Name, b.Definition.Name)
	p.Family, _, _ = strings.Cut(p.BackendType, "/")
	target := b.Definition.Types.Plan
	r.config(n, n.member("config"), target, func(raw json.RawMessage) (err error) {
		p.Config, err = b.Definition.DecodePlan(raw)
		return err
	})
	if b.Definition.VolumeMounts && p.Bindable && !slices.Contains(p.Service.Requires, "volume_mount") {
		r.wrong(n.member("backend"), "its bindings have volume mounts, which platforms accept only from a service with "+
			"requires: [volume_mount]; put such plans into a service of their own")
	}
	if b.Definition.Active && p.KeepDeleted > 0 {
		r.wrong(n.member("keep_deleted"), "instances of this backend work by themselves, and would continue after their deletion; remove this")
	}
	r.planBackups(n, p, b.Definition)
	p.Schemas, p.Actions = r.schemas[b.Definition.Name], b.Definition.Schemas.Actions
	r.reservedParameters(n, p)
	if !p.Bindable {
		p.Schemas.Binding.Create = nil
	}
}

// unknownBackend reports a name that is not under "backends". A backend with faults was
// reported there.
func (r servicesReader) unknownBackend(n *node) {
	if !slices.Contains(r.backends.names, n.text) {
		r.wrong(n, "%s is not a backend of this file; its backends are %s", show(n), list(r.backends.names))
	}
}

// semver is a semantic version, as semver.org (2.0.0) gives it.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?` +
	`(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

func (m *maintenanceInfo) check(c *checker, n *node) {
	if m.Version != "" && !semver.MatchString(m.Version) {
		c.wrong(n.member("version"), "must be a semantic version (semver.org 2.0.0) such as 1.0.0")
	}
}

func (r servicesReader) checkDashboardURL(n *node, p *Plan) {
	if filled := p.Dashboard("x"); filled != "" && (!isWebURL(filled) || strings.ContainsAny(filled, "{}")) {
		r.wrong(n, "must be an absolute http or https URL, with %s for the instance's id and no other braces", instancePlaceholder)
	}
}
