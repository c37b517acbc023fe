package catalog

import (
	"encoding/json"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// DefaultServer is the name of the one server of a backend that does not list
// its servers, and of that same server where the backend does later.
const DefaultServer = "default"

// Server is where a backend makes its instances. An instance stays on the server
// that it was placed on.
type Server struct {
	Backend, Name string
	Definition    services.Definition
	// Config is what Definition.Open takes. It may hold secrets.
	Config services.Config
	// Capacity is how much of the server may be promised to instances.
	Capacity Capacity
	// Drain keeps new instances away.
	Drain bool
}

// Capacity is how many instances a server takes, and how much their plans may
// promise together; what is 0 has no limit.
type Capacity struct {
	Instances int
	services.Space
}

// Limited says whether there is any limit.
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

// ServersOf returns the servers of the backend of that name, none where there is
// no such backend.
func (c *Catalog) ServersOf(backend string) []Server {
	for _, b := range c.backends {
		if b.Name == backend {
			return b.Servers
		}
	}
	return nil
}

// servers reads what a backend says of its servers. Without the key "servers" there
// is one, with the backend's own configuration.
func (c *checker) servers(n *node, name string, def services.Definition) []Server {
	target, _ := def.ConfigTypes()
	config := func(owner, n *node) (config services.Config) {
		c.config(owner, n, target, func(raw json.RawMessage) (err error) {
			config, err = def.DecodeConfig(raw)
			return err
		})
		return config
	}
	list := n.member("servers")
	if list == nil {
		return []Server{{Backend: name, Name: DefaultServer, Definition: def, Config: config(n, n.member("config"))}}
	}
	if list.kind != isMapping || len(list.keys) == 0 {
		c.wrong(list, "must be a mapping from names to servers, with one at least")
		return nil
	}
	var servers []Server
	for i, key := range list.keys {
		item := list.items[i]
		if !backendName.MatchString(key) {
			c.add(item.line, item.path, "a server's name has 1 to 63 characters of a-z, 0-9, '.', '_' and '-'")
			continue
		}
		if item.kind == isNothing {
			item = &node{kind: isMapping, line: item.line, path: item.path}
		}
		o := c.object(item, "config", "capacity", "drain")
		if o.node == nil {
			continue
		}
		servers = append(servers, Server{
			Backend: name, Name: key, Definition: def, Drain: o.flag("drain", false),
			Config:   config(item, merged(n.member("config"), item)),
			Capacity: c.capacity(item.member("capacity")),
		})
	}
	c.sameUnits(list, servers)
	return servers
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

func (c *checker) capacity(n *node) Capacity {
	o := c.object(n, "instances", "storage", "memory")
	return Capacity{
		Instances: o.whole("instances", 1, mostInstances),
		Space:     services.Space{Storage: o.size("storage"), Memory: o.size("memory")},
	}
}

// sameUnits demands that servers can be compared: those that say their capacity
// say it in the same units.
func (c *checker) sameUnits(list *node, servers []Server) {
	units := func(u Capacity) [3]bool { return [3]bool{u.Instances > 0, u.Storage > 0, u.Memory > 0} }
	for _, s := range servers[min(1, len(servers)):] {
		if units(s.Capacity) != units(servers[0].Capacity) {
			c.wrong(list, "servers %s and %s say their capacity in different units, and nobody could tell which has more room; "+
				"give all of them the same of instances, storage and memory", servers[0].Name, s.Name)
			return
		}
	}
}
