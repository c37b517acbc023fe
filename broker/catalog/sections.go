package catalog

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

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
	o := c.object(n, "type", "config")
	o.need("type")
	kind := o.text("type")
	if kind == "" {
		return Backend{}, false
	}
	known := make([]string, 0, len(defs))
	for _, def := range defs {
		if def.Name == kind {
			target, _ := def.ConfigTypes()
			config := c.config(n, n.member("config"), target, def.CheckConfig)
			return Backend{Name: name, Definition: def, Config: config}, true
		}
		known = append(known, def.Name)
	}
	place := n.member("type")
	c.wrong(place, "%s is no type of backend; there are %s", show(place), list(known))
	return Backend{}, false
}

const (
	mostPasswords    = 2
	shortestPassword = 8
)

var platformName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

func (c *checker) platforms(top object) []Platform {
	var platforms []Platform
	names, usernames := make(map[string]*node), make(map[string]*node)
	for _, n := range top.list("platforms") {
		o := c.object(n, "name", "username", "passwords")
		o.need("name", "username", "passwords")
		p := Platform{Name: o.text("name"), Username: o.text("username")}
		if p.Name != "" && !platformName.MatchString(p.Name) {
			c.wrong(n.member("name"), "a platform's name has 1 to 63 characters of A-Z, a-z, 0-9, '.', '_' and '-'")
		}
		if strings.Contains(p.Username, ":") || hasControl(p.Username) {
			c.wrong(n.member("username"), "must have neither a colon nor a control character: "+
				"basic authentication cannot carry them (RFC 7617)")
		}
		c.unique(n.member("name"), p.Name, names)
		c.unique(n.member("username"), p.Username, usernames)
		p.Passwords = c.passwords(o)
		platforms = append(platforms, p)
	}
	return platforms
}

func (c *checker) passwords(o object) []services.Secret {
	var passwords []services.Secret
	items := o.list("passwords")
	if n := o.node.member("passwords"); n != nil && n.kind == isList && (len(items) == 0 || len(items) > mostPasswords) {
		c.wrong(n, "there are %d passwords; a platform has one, or two while one replaces the other", len(items))
	}
	for i, item := range items {
		text := c.text(item)
		switch {
		case text == "":
			continue
		case utf8.RuneCountInString(text) < shortestPassword:
			c.wrong(item, "must have at least %d characters", shortestPassword)
		case hasControl(text):
			c.wrong(item, "must have no control character: basic authentication cannot carry it (RFC 7617)")
		case i > 0 && text == items[0].text:
			c.wrong(item, "is the first password again; remove it")
		}
		passwords = append(passwords, services.NewSecret(text))
	}
	return passwords
}

func hasControl(s string) bool { return strings.ContainsFunc(s, unicode.IsControl) }
