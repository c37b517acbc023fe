package catalog

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
)

// Pending returns the sections that differ in next and take effect only at the next
// start. Platforms, operators, and whether a server is drained take effect at once and
// are not included.
func (c *Catalog) Pending(next *Catalog) []string {
	var sections []string
	if !slices.Equal(c.serverTexts(), next.serverTexts()) {
		sections = append(sections, "backends")
	}
	if !reflect.DeepEqual(c.backups, next.backups) {
		sections = append(sections, "backups")
	}
	if !reflect.DeepEqual(c.deliveries, next.deliveries) {
		sections = append(sections, "delivery")
	}
	if !slices.Equal(c.quotaTexts(), next.quotaTexts()) {
		sections = append(sections, "quotas")
	}
	if !bytes.Equal(c.json, next.json) || !reflect.DeepEqual(c.planValues(), next.planValues()) {
		sections = append(sections, "services")
	}
	return sections
}

func (c *Catalog) serverTexts() []string {
	return each(c.Servers(), func(s Server) string {
		return fmt.Sprint(s.Key(), " ", s.Definition.Name, s.Capacity, string(s.Config.JSON()))
	})
}

func (c *Catalog) quotaTexts() []string {
	return each(c.quotas, func(q Quota) string { return fmt.Sprint(q, q.Instances) })
}

// planValues are the plans without the fields that are other objects in every catalog.
func (c *Catalog) planValues() map[string]Plan {
	all := map[string]Plan{}
	for id, p := range c.planByID {
		plain := *p
		plain.Service, plain.Schemas = nil, schemas{}
		all[id] = plain
	}
	return all
}

// Drained says for each server, by its key, whether the catalog drains it.
func (c *Catalog) Drained() map[string]bool {
	all := map[string]bool{}
	for _, s := range c.Servers() {
		all[s.Key()] = s.Drain
	}
	return all
}

// InUse is a plan with a backend and a server in the state.
type InUse struct {
	ServiceID, PlanID string
	// Backend and BackendType are those that made the instances; empty if the state did
	// not record them yet.
	Backend, BackendType string
	Server               string
	// Instances is their number, failed ones included.
	Instances int64
}

// CheckState compares the catalog with the state: a plan that has instances can
// neither vanish nor change its ID, its service or its backend; their backend
// cannot change its type; and a server that has some cannot vanish. The error is
// Faults.
func (c *Catalog) CheckState(used []InUse) error {
	var faults Faults
	for _, u := range used {
		if u.Instances == 0 {
			continue
		}
		p, ok := c.Plan(u.ServiceID, u.PlanID)
		if !ok {
			faults = append(faults, Fault{File: c.file, Path: "services", Message: c.missing(u)})
			continue
		}
		fault := Fault{File: c.file, Path: under("backends", p.Backend)}
		if err := p.CheckBackend(u.Backend, u.BackendType); err != nil {
			fault.Message = fmt.Sprintf("%d instance(s): %s", u.Instances, err)
		} else if !slices.ContainsFunc(c.ServersOf(p.Backend), func(s Server) bool { return s.Name == u.Server }) {
			fault.Message = missingServer(u, p)
		} else {
			continue
		}
		faults = append(faults, fault)
	}
	return faults.err()
}

// CheckBackend returns an error if another backend than the plan's made the instances, or one
// of another type: the plan's backend would find nothing to revoke or delete, and report
// success. An empty backend is unknown, and passes.
func (p *Plan) CheckBackend(backend, backendType string) error {
	switch {
	case backend == "":
		return nil
	case backend != p.Backend:
		return fmt.Errorf("made by backend %s (%s), but the catalog has their plan %s on backend %s (%s), which cannot revoke or delete them; "+
			"set the plan's backend to %s again, and offer the other one under a plan with a new id",
			quote(backend), backendType, quote(p.Name), quote(p.Backend), p.BackendType, quote(backend))
	case backendType != p.BackendType:
		return fmt.Errorf("made by backend %s when its type was %s, but the catalog gives it type %s, which cannot revoke or delete them; "+
			"give the backend its old type again, and add the new one under another name", quote(backend), backendType, p.BackendType)
	}
	return nil
}

func missingServer(u InUse, p *Plan) string {
	has := fmt.Sprintf("%d instance(s) of plan %s are on its server %s, which the catalog does not list; ", u.Instances, quote(p.Name), quote(u.Server))
	if u.Server == DefaultServer {
		return has + "that is the one which the backend had before it listed its servers: list it under this name"
	}
	return has + "put it back, with drain: true to keep new instances away, until its last one is deleted"
}

func (c *Catalog) missing(u InUse) string {
	has := fmt.Sprintf("the plan with id %s of the service with id %s has %d instance(s)",
		quote(u.PlanID), quote(u.ServiceID), u.Instances)
	if p, ok := c.planByID[u.PlanID]; ok {
		return fmt.Sprintf("%s, but the file has it in the service %s; move it back, "+
			"or give the service its old id again", has, quote(p.Service.Name))
	}
	return has + ", but the file has no such plan; a plan with instances cannot vanish or change its id: " +
		"put it back under this id, or deprovision its instances first"
}
