package rabbitmq

import "regexp"

// namer names what is made on the server. All names begin with the prefix, so
// that brokers can share a server.
type namer struct {
	prefix string // with its underscore
	vhosts *regexp.Regexp
	users  *regexp.Regexp
}

const safeName = `([a-z2-7]{26})`

func newNamer(prefix string) namer {
	p := prefix + "_"
	return namer{
		prefix: p,
		vhosts: regexp.MustCompile(`^` + p + safeName + `$`),
		users:  regexp.MustCompile(`^` + p + safeName + `_` + safeName + `$`),
	}
}

// vhost is the virtual host of an instance.
func (n namer) vhost(instance string) string { return n.prefix + instance }

// ResourceName implements services.Namer.
func (b *backend) ResourceName(inst instance) string { return b.names.vhost(inst.Name) }

// user is the user of a binding. The instance is part of the name, so that a
// user without permissions, which a crash in a bind leaves, is still found when
// the instance goes.
func (n namer) user(instance, binding string) string {
	return n.prefix + instance + "_" + binding
}

// instanceOf returns the Instance.Name behind a virtual host's name.
func (n namer) instanceOf(vhost string) (string, bool) {
	m := n.vhosts.FindStringSubmatch(vhost)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// bindingOf returns the Instance.Name and the Binding.Name behind a user's name.
func (n namer) bindingOf(user string) (instance, binding string, ok bool) {
	m := n.users.FindStringSubmatch(user)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}
