package catalog

import (
	"fmt"
)

// InUse is a plan as the state knows it.
type InUse struct {
	ServiceID, PlanID string
	// Instances is how many there are, failed ones included.
	Instances int
}

// CheckState compares the catalog with the state: a plan that has instances can
// neither vanish nor change its ID or its service. The error is Faults.
func (c *Catalog) CheckState(used []InUse) error {
	var faults Faults
	for _, u := range used {
		if u.Instances == 0 {
			continue
		}
		if _, ok := c.Plan(u.ServiceID, u.PlanID); !ok {
			faults = append(faults, Fault{File: c.file, Path: "services", Message: c.missing(u)})
		}
	}
	return faults.err()
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
