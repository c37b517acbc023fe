package catalog

import (
	"fmt"
	"slices"
)

// InUse is a plan with a server as the state knows them.
type InUse struct {
	ServiceID, PlanID, Server string
	// Instances is how many there are, failed ones included.
	Instances int
}

// CheckState compares the catalog with the state: a plan that has instances can
// neither vanish nor change its ID or its service, and a server that has some
// cannot vanish. The error is Faults.
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
		if !slices.ContainsFunc(c.ServersOf(p.Backend), func(s Server) bool { return s.Name == u.Server }) {
			faults = append(faults, Fault{File: c.file, Path: under("backends", p.Backend), Message: missingServer(u, p)})
		}
	}
	return faults.err()
}

func missingServer(u InUse, p *Plan) string {
	has := fmt.Sprintf("%d instance(s) of plan %s are on its server %s, which the file has not; ", u.Instances, quote(p.Name), quote(u.Server))
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
