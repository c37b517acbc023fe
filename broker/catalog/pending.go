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
