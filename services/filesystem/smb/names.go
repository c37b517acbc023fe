package smb

import "regexp"

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server: an instance's share, folder, account and
// group have one name, a binding's account another.
type namer struct {
	prefix string // with its hyphen
	rule   *regexp.Regexp
}

func newNamer(prefix string) namer {
	p := prefix + "-"
	return namer{prefix: p, rule: regexp.MustCompile(`^` + p + `([a-z2-7]{26})$`)}
}

// of is the name on the server of an instance or a binding.
func (n namer) of(name string) string { return n.prefix + name }

// resource is an instance's share as operators are told of it.
func (n namer) resource(instance string) string { return "share " + n.of(instance) }

// parse returns the Instance.Name or Binding.Name behind a name on the server.
func (n namer) parse(name string) (string, bool) {
	m := n.rule.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return m[1], true
}
