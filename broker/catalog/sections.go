package catalog

import (
	"regexp"

	"github.com/chandler-broker/chandler/services"
)

var backendName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// backendSet is the section "backends", whose names plans refer to.
type backendSet struct {
	list    []Backend
	names   []string
	byName  map[string]Backend
	schemas map[string]planSchemas // by the definition's name
}

func (c *checker) backends(top object, defs []services.Definition) backendSet {
	set := backendSet{byName: make(map[string]Backend), schemas: make(map[string]planSchemas)}
	n := top.node.member("backends")
	if n == nil {
		return set
	}
	if n.kind != isMapping {
		c.wrong(n, "must be a mapping from names to backends, not %s", n.kind)
		return set
	}
	for i, name := range n.keys {
		set.names = append(set.names, name)
		if !backendName.MatchString(name) {
			c.add(n.items[i].line, n.items[i].path,
				"a backend's name has 1 to 63 characters of a-z, 0-9, '.', '_' and '-'")
			continue
		}
		if b, ok := c.backend(n.items[i], name, defs); ok {
			set.list = append(set.list, b)
			set.byName[name] = b
			if _, done := set.schemas[b.Definition.Name]; !done {
				set.schemas[b.Definition.Name] = c.planSchemas(n.items[i], b.Definition)
			}
		}
	}
	return set
}

func (c *checker) backend(n *node, name string, defs []services.Definition) (Backend, bool) {
	o := c.object(n, "type", "config", "servers")
	o.need("type")
	kind := o.text("type")
	if kind == "" {
		return Backend{}, false
	}
	known, place := make([]string, 0, len(defs)), n.member("type")
	for _, def := range defs {
		switch kind {
		case def.Name:
			return Backend{Name: name, Definition: def, Servers: c.servers(n, name, def)}, true
		case def.Replaces.Name:
			c.wrong(place, "%s was replaced by %s: %s", show(place), def.Name, def.Replaces.Change)
			return Backend{}, false
		}
		known = append(known, def.Name)
	}
	c.wrong(place, "%s is no type of backend; there are %s", show(place), list(known))
	return Backend{}, false
}
