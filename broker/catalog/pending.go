package catalog

import (
	"bytes"
	"reflect"
)

// Pending returns the sections that differ in next and take effect only at the next
// start. Platforms, operators, and whether a server is drained take effect at once and
// are not included.
func (c *Catalog) Pending(next *Catalog) []string {
	var sections []string
	if !reflect.DeepEqual(c.backendKeys(), next.backendKeys()) {
		sections = append(sections, "backends")
	}
	if !reflect.DeepEqual(c.deliveries, next.deliveries) {
		sections = append(sections, "delivery")
	}
	if !reflect.DeepEqual(c.quotaTexts(), next.quotaTexts()) {
		sections = append(sections, "quotas")
	}
	if !bytes.Equal(c.json, next.json) || !reflect.DeepEqual(c.planValues(), next.planValues()) {
		sections = append(sections, "services")
	}
	return sections
}

// backendKey is what tells one server from another.
type backendKey struct {
	server, backendType, config string
	capacity                    Capacity
}

func (c *Catalog) backendKeys() []backendKey {
	var all []backendKey
	for _, s := range c.Servers() {
		all = append(all, backendKey{s.Key(), s.Definition.Name, string(s.Config.JSON()), s.Capacity})
	}
	return all
}

func (c *Catalog) quotaTexts() (all []quotaText) {
	for _, q := range c.quotas {
		all = append(all, quotaText{q.String(), q.Instances})
	}
	return all
}

type quotaText struct {
	of        string
	instances int
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
