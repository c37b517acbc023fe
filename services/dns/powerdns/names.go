package powerdns

import (
	"strings"

	"github.com/chandler-broker/chandler/services/dns/zone"
	"github.com/chandler-broker/chandler/services/naming"
)

var safeRule = naming.NewRule(naming.Safe)

// isSafe recognizes an Instance.Name or a Binding.Name.
func isSafe(name string) bool {
	_, ok := safeRule.Instance(name)
	return ok
}

// namer names what is made on the server. Users name zones; a zone's account, of which the
// server stores 40 characters, names its instance.
type namer struct{ prefix string }

const unfinishedMark = "-new"

func (n namer) account(instance string) string { return n.prefix + "-" + instance }

// unfinished marks a zone that is not usable yet.
func (n namer) unfinished(instance string) string { return n.account(instance) + unfinishedMark }

// instanceOf returns the Instance.Name that an account stands for.
func (n namer) instanceOf(account string) (instance string, finished, ok bool) {
	name, ok := strings.CutPrefix(account, n.prefix+"-")
	name, unfinished := strings.CutSuffix(name, unfinishedMark)
	return name, !unfinished, ok && isSafe(name)
}

// keys ends the names of all TSIG keys of an instance.
func (n namer) keys(instance string) string { return "." + instance + "." + n.prefix + "." }

// key is the name of a binding's TSIG key.
func (n namer) key(instance, binding string) string { return binding + n.keys(instance) }

// enforcementKey is the name of the key with which an instance's limits are enforced. The
// key exists only for that moment; its name stays in the zone's list of keys, because an
// empty list would allow updates without any key.
func (n namer) enforcementKey(instance string) string { return "keeper" + n.keys(instance) }

// bindingOf returns whose a key is; binding is empty for an enforcement key.
func (n namer) bindingOf(key string) (instance, binding string, ok bool) {
	all := zone.Labels(key)
	if len(all) != 3 || all[2] != n.prefix || !isSafe(all[1]) {
		return "", "", false
	}
	if key == n.enforcementKey(all[1]) {
		return all[1], "", true
	}
	return all[1], all[0], isSafe(all[0])
}

// canonicalKey is a key's name with its final dot, which the server may omit.
func canonicalKey(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) + "." }
