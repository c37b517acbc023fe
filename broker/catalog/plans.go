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

// longestPolling is what Cloud Foundry polls at most: a week, in seconds.
const longestPolling = 7 * 24 * 60 * 60

func (r offeringsReader) plan(n *node, s *Service, w wireService, names map[string]*node) (*Plan, wirePlan) {
	o := r.object(n, "id", "name", "description", "backend", "config", "free", "bindable", "binding_rotatable",
		"plan_updateable", "maximum_polling_duration", "maintenance_info", "metadata", "requires_app",
		"requires_async", "cascade", "endpoints", "dashboard_url", "binding_lifetime", "binding_renew_before", "keep_deleted", "delivery")
	o.need("id", "name", "description", "backend")
	wire := wirePlan{
		ID:                     r.id(o),
		Name:                   r.name(o, names),
		Description:            o.text("description"),
		Free:                   o.flag("free", true),
		Bindable:               o.flag("bindable", w.Bindable),
		BindingRotatable:       o.flag("binding_rotatable", false),
		PlanUpdateable:         o.flag("plan_updateable", w.PlanUpdateable),
		MaximumPollingDuration: o.whole("maximum_polling_duration", 1, longestPolling),
		MaintenanceInfo:        r.maintenance(o),
		Metadata:               r.metadata(o, reflect.TypeFor[domain.ServicePlanMetadata](), r.checkPlanMetadata),
	}
	p := &Plan{
		ID: wire.ID, Name: wire.Name, Service: s,
		Bindable: wire.Bindable, Rotatable: wire.BindingRotatable, Updateable: wire.PlanUpdateable,
		RequiresApp:            o.flag("requires_app", false),
		RequiresAsync:          o.flag("requires_async", false),
		Cascade:                o.flag("cascade", false),
		Endpoints:              o.flag("endpoints", false),
		DashboardURL:           r.dashboardURL(o),
		MaximumPollingDuration: DefaultMaximumPollingDuration,
		BindingLifetime:        o.duration("binding_lifetime"),
		BindingRenewBefore:     o.duration("binding_renew_before"),
		KeepDeleted:            o.duration("keep_deleted"),
		Delivery:               r.delivery(o),
	}
	if wire.MaximumPollingDuration > 0 {
		p.MaximumPollingDuration = time.Duration(wire.MaximumPollingDuration) * time.Second
	}
	if m := wire.MaintenanceInfo; m != nil {
		p.MaintenanceVersion, p.MaintenanceDescription = m.Version, m.Description
	}
	r.bindingRules(o, p)
	r.planBackend(o, p, &wire)
	return p, wire
}

// bindingRules checks what flags say together.
func (r offeringsReader) bindingRules(o object, p *Plan) {
	if p.Rotatable && !p.Bindable {
		r.wrong(o.node.member("binding_rotatable"), "the plan is not bindable, so nothing can be rotated; "+
			"remove this, or set bindable: true")
	}
	if p.RequiresApp && !p.Bindable {
		r.wrong(o.node.member("requires_app"), "the plan is not bindable, so this has no meaning; "+
			"remove it, or set bindable: true")
	}
	if p.BindingLifetime > 0 && !p.Bindable {
		r.wrong(o.node.member("binding_lifetime"), "the plan is not bindable, so nothing can expire; "+
			"remove this, or set bindable: true")
	}
	if p.BindingRenewBefore > 0 && p.BindingRenewBefore >= p.BindingLifetime {
		r.wrong(o.node.member("binding_renew_before"), "is the time before the end of binding_lifetime, "+
			"and has to be shorter than that")
	}
	if p.RequiresAsync && p.Bindable && !p.Service.BindingsRetrievable {
		r.wrong(o.node.member("requires_async"), "asynchronous bindings reach the platform only by fetching them; "+
			"set bindings_retrievable: true at the service")
	}
}

// planBackend reads what the plan's backend has a say in.
func (r offeringsReader) planBackend(o object, p *Plan, wire *wirePlan) {
	p.Backend = o.text("backend")
	if p.Backend == "" {
		return
	}
	b, ok := r.backends.byName[p.Backend]
	if !ok {
		r.unknownBackend(o.node.member("backend"))
		return
	}
	p.BackendType = cmp.Or(b.Definition.Replaces.Name, b.Definition.Name)
	p.Family, _, _ = strings.Cut(p.BackendType, "/")
	_, target := b.Definition.ConfigTypes()
	r.config(o.node, o.node.member("config"), target, func(raw json.RawMessage) (err error) {
		p.Config, err = b.Definition.DecodePlan(raw)
		return err
	})
	if b.Definition.VolumeMounts && p.Bindable && !slices.Contains(p.Service.Requires, "volume_mount") {
		r.wrong(o.node.member("backend"), "its bindings come with volume mounts, which platforms take of a service with "+
			"requires: [volume_mount] only; give such plans a service of their own")
	}
	if b.Definition.Active && p.KeepDeleted > 0 {
		r.wrong(o.node.member("keep_deleted"), "instances of this backend work by themselves, and would go on after they were deleted; "+
			"remove this")
	}
	schemas := r.backends.schemas[b.Definition.Name]
	p.create, p.update, p.bind = schemas.create, schemas.update, schemas.bind
	wire.Schemas.Instance.Create = schemas.create.wire()
	wire.Schemas.Instance.Update = schemas.update.wire()
	if p.Bindable {
		wire.Schemas.Binding.Create = schemas.bind.wire()
	}
}

// unknownBackend reports a name that is not under "backends". One that is there
// with faults has been reported already.
func (r offeringsReader) unknownBackend(n *node) {
	for _, name := range r.backends.names {
		if name == n.text {
			return
		}
	}
	r.wrong(n, "%s is no backend of this file; there are %s", show(n), list(r.backends.names))
}

// semver is a semantic version, as semver.org (2.0.0) gives it.
var semver = regexp.MustCompile(`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
	`(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?` +
	`(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$`)

func (r offeringsReader) maintenance(o object) *wireMaintenanceInfo {
	n := o.node.member("maintenance_info")
	if n == nil {
		return nil
	}
	m := r.object(n, "version", "description")
	m.need("version")
	w := &wireMaintenanceInfo{Version: m.text("version"), Description: m.text("description")}
	if w.Version != "" && !semver.MatchString(w.Version) {
		r.wrong(n.member("version"), "must be a semantic version (semver.org 2.0.0) such as 1.0.0")
	}
	return w
}

func (r offeringsReader) dashboardURL(o object) string {
	template := o.text("dashboard_url")
	if template == "" {
		return ""
	}
	filled := (&Plan{DashboardURL: template}).Dashboard("x")
	if !isWebURL(filled) || strings.ContainsAny(filled, "{}") {
		r.wrong(o.node.member("dashboard_url"),
			"must be an absolute http or https URL, with %s where the instance's id belongs and no other braces",
			instancePlaceholder)
	}
	return template
}
