package catalog

import (
	"encoding/json"
	"regexp"
	"slices"

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

// DefaultServer is the name of a backend's one server if the backend does not list its
// servers, and of that same server once it does.
const DefaultServer = "default"

// Server holds instances of a backend. An instance stays on the server that it was placed
// on.
type Server struct {
	Backend, Name string
	Definition    services.Definition
	// Config is what Definition.Open takes. It may hold secrets.
	Config services.Config `yaml:"config,raw"`
	// Capacity is how much of the server may be promised to instances.
	Capacity Capacity `yaml:"capacity"`
	// Drain keeps new instances away.
	Drain bool `yaml:"drain"`
}

// Capacity is how many instances a server may have, and how much their plans may promise
// together; 0 means no limit.
type Capacity struct {
	Instances int           `yaml:"instances" bounds:"1-10000000"`
	Storage   services.Size `yaml:"storage"`
	Memory    services.Size `yaml:"memory"`
}

// Limited says whether anything is limited.
func (c Capacity) Limited() bool { return c != Capacity{} }

// Key names the server among those of all backends.
func (s Server) Key() string { return ServerKey(s.Backend, s.Name) }

// ServerKey is the backend's name for its default server, and backend/server for
// others. Backends' names have no slash.
func ServerKey(backend, server string) string {
	if server == DefaultServer {
		return backend
	}
	return backend + "/" + server
}

// Servers returns the servers of all backends in the file's order.
func (c *Catalog) Servers() []Server {
	var all []Server
	for _, b := range c.backends {
		all = append(all, b.Servers...)
	}
	return all
}

// ServersOf returns the servers of the backend of that name, if it exists.
func (c *Catalog) ServersOf(backend string) []Server {
	if i := slices.IndexFunc(c.backends, func(b Backend) bool { return b.Name == backend }); i >= 0 {
		return c.backends[i].Servers
	}
	return nil
}

// servers reads the servers of a backend, whose keys "config" and "servers" are the nodes.
// Without "servers" it has one, with its own configuration.
func (c *checker) servers(n, config, servers *node, name string, def services.Definition) []Server {
	target := def.Types.Config
	decode := func(owner, n *node, s *Server) {
		c.config(owner, n, target, func(raw json.RawMessage) (err error) {
			s.Config, err = def.DecodeConfig(raw)
			return err
		})
	}
	if servers == nil {
		only := Server{Backend: name, Name: DefaultServer, Definition: def}
		decode(n, config, &only)
		return []Server{only}
	}
	if servers.kind != isMapping || len(servers.keys) == 0 {
		c.wrong(servers, "must be a mapping from names to servers, with at least one")
		return nil
	}
	var all []Server
	for i, key := range servers.keys {
		item := servers.items[i]
		if !backendName.MatchString(key) {
			c.add(item.line, item.path, "a server's name has 1 to 63 characters of a-z, 0-9, '.', '_' and '-'")
			continue
		}
		if item.kind == isNothing {
			item = &node{kind: isMapping, line: item.line, path: item.path}
		}
		if s := (Server{Backend: name, Name: key, Definition: def}); c.read(item, &s) {
			decode(item, merged(config, item), &s)
			all = append(all, s)
		}
	}
	c.sameUnits(servers, all)
	return all
}

// merged is the configuration of a server: its own keys, and those of the
// backend that it does not have.
func merged(common, server *node) *node {
	own := server.member("config")
	if common == nil || common.kind != isMapping {
		return own
	}
	if own == nil {
		own = &node{kind: isMapping, line: server.line, path: under(server.path, "config")}
	}
	if own.kind != isMapping {
		return own
	}
	all := *own
	all.keys, all.items = slices.Clone(own.keys), slices.Clone(own.items)
	for i, key := range common.keys {
		if !slices.Contains(own.keys, key) {
			all.keys, all.items = append(all.keys, key), append(all.items, common.items[i])
		}
	}
	return &all
}

// sameUnits requires that servers can be compared: those that have a capacity have it in
// the same units.
func (c *checker) sameUnits(list *node, servers []Server) {
	units := func(u Capacity) [3]bool { return [3]bool{u.Instances > 0, u.Storage > 0, u.Memory > 0} }
	for _, s := range servers {
		if units(s.Capacity) != units(servers[0].Capacity) {
			c.wrong(list, "servers %s and %s have capacities in different units, which cannot be compared; "+
				"give all of them the same of instances, storage and memory", servers[0].Name, s.Name)
			return
		}
	}
}
