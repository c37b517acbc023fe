package openstack

import (
	"strings"

	"github.com/chandler-broker/chandler/services/naming"
)

// names are those of projects and users. Both contain the backend's kind, so that backends can
// share a domain.
type names struct{ prefix string } // such as "c-dns-"

var safe = naming.NewRule(naming.Safe)

// project is the name of an instance's project.
func (n names) project(instance string) string { return n.prefix + instance }

// users begins the names of an instance's users.
func (n names) users(instance string) string { return n.prefix + instance + "-" }

// user is the name of a binding's user.
func (n names) user(instance, binding string) string { return n.users(instance) + binding }

// instanceOf returns the Instance.Name that a project belongs to.
func (n names) instanceOf(project string) (instance string, ok bool) {
	name, ok := strings.CutPrefix(project, n.prefix)
	if !ok {
		return "", false
	}
	return safe.Instance(name)
}

// bindingOf returns the Instance.Name and Binding.Name that a user belongs to.
func (n names) bindingOf(user string) (instance, binding string, ok bool) {
	name, ok := strings.CutPrefix(user, n.prefix)
	if !ok {
		return "", "", false
	}
	instance, binding, ok = strings.Cut(name, "-")
	if !ok {
		return "", "", false
	}
	_, first := safe.Instance(instance)
	_, second := safe.Instance(binding)
	return instance, binding, first && second
}

func trimSlash(url string) string { return strings.TrimRight(url, "/") }
