package catalog

import (
	"regexp"

	"github.com/chandler-broker/chandler/services"
)

var backendName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// backendSet is the section "backends", whose names plans refer to.
type backendSet struct {
	list   []Backend
	names  []string
	byName map[string]Backend
}

func (c *checker) backends(section *node, defs []services.Definition) backendSet {
	set := backendSet{byName: map[string]Backend{}}
	if section == nil {
		return set
	}
	if section.kind != isMapping {
		c.wrong(section, "must be a mapping from names to backends, not %s", section.kind)
		return set
	}
	set.names = section.keys
	for i, name := range section.keys {
		n := section.items[i]
		if !backendName.MatchString(name) {
			c.add(n.line, n.path, "a backend's name has 1 to 63 characters of a-z, 0-9, '.', '_' and '-'")
		} else if b, ok := c.backend(n, name, defs); ok {
			set.list, set.byName[name] = append(set.list, b), b
			c.compileSchemas(n, b.Definition)
		}
	}
	return set
}

func (c *checker) backend(n *node, name string, defs []services.Definition) (Backend, bool) {
	var keys struct {
		Type    string `yaml:"type,required"`
		Config  *node  `yaml:"config"`
		Servers *node  `yaml:"servers"`
	}
	if !c.read(n, &keys) || keys.Type == "" {
		return Backend{}, false
	}
	place := n.member("type")
	for _, def := range defs {
		switch keys.Type {
		case def.Name:
			return Backend{name, def, c.servers(n, keys.Config, keys.Servers, name, def)}, true
		case def.Replaces.Name:
			c.wrong(place, "%s was replaced by %s: %s", show(place), def.Name, def.Replaces.Change)
			return Backend{}, false
		}
	}
	known := each(defs, func(def services.Definition) string { return def.Name })
	c.wrong(place, "%s is not a type of backend; the types are %s", show(place), list(known))
	return Backend{}, false
}
