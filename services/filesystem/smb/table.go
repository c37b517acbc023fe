package smb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services/naming"
)

// namer names what is made on the server. All names begin with the prefix, so that brokers can
// share a server. An instance's share, folder, account and group have the same name.
type namer struct {
	prefix string // with its hyphen
	rule   naming.Rule
}

func newNamer(prefix string) namer {
	p := prefix + "-"
	return namer{prefix: p, rule: naming.NewRule(p + naming.Safe)}
}

// resource is the name on the server of an instance or a binding.
func (n namer) resource(name string) string { return n.prefix + name }

// role is what an account is for.
type role string

const (
	owner    role = "instance" // the owner of an instance's files; cannot log in
	reader   role = "reader"   // a binding that only reads
	writer   role = "writer"
	revoking role = "gone"   // a binding that is being revoked
	closed   role = "closed" // a binding without logins, which may still have sessions
)

// account is an instance's or a binding's.
type account struct {
	name      string // Instance.Name or Binding.Name
	instance  string // Instance.Name
	role      role
	uid, gid  int64
	overQuota bool // of an owner: the share is read-only
}

// usable says whether the account is of a binding that is not being revoked.
func (a account) usable() bool { return a.role == reader || a.role == writer }

// table is the content of the files passwd and group, line by line.
type table struct {
	names         namer
	passwd, group []string
}

const (
	// mark is in the comment of every account of a broker: "chandler INSTANCE ROLE".
	mark = "chandler"
	// Nobody uses the home of an account. It records whether the instance is over quota.
	home          = "/nonexistent"
	overQuotaHome = "/nonexistent/over-quota"
)

// parse reads a line that line made; ok is false for others' lines.
func (t *table) parse(line string) (a account, ok bool) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return a, false
	}
	comment := strings.Fields(f[4])
	if a.name, ok = t.names.rule.Instance(f[0]); !ok || len(comment) != 3 || comment[0] != mark {
		return a, false
	}
	a.instance, a.role, a.overQuota = comment[1], role(comment[2]), f[5] == overQuotaHome
	var uidErr, gidErr error
	a.uid, uidErr = strconv.ParseInt(f[2], 10, 64)
	a.gid, gidErr = strconv.ParseInt(f[3], 10, 64)
	return a, uidErr == nil && gidErr == nil
}

// line is an account in the form of passwd(5). "*" is not the hash of any password.
func (t *table) line(a account) string {
	dir := home
	if a.overQuota {
		dir = overQuotaHome
	}
	return fmt.Sprintf("%s:*:%d:%d:%s %s %s:%s:/usr/sbin/nologin", t.names.resource(a.name), a.uid, a.gid, mark, a.instance, a.role, dir)
}

// all are the accounts of this broker.
func (t *table) all() []account {
	var found []account
	for _, line := range t.passwd {
		if a, ok := t.parse(line); ok {
			found = append(found, a)
		}
	}
	return found
}

// find returns the account of an instance or a binding.
func (t *table) find(name string) (account, bool) {
	for _, a := range t.all() {
		if a.name == name {
			return a, true
		}
	}
	return account{}, false
}

// bindings are the accounts of an instance's bindings.
func (t *table) bindings(instance string) []account {
	return slices.DeleteFunc(t.all(), func(a account) bool { return a.instance != instance || a.role == owner })
}

// put adds or changes an account. An instance's has a group of its own.
func (t *table) put(a account) {
	t.passwd = replaceLine(t.passwd, t.names.resource(a.name), t.line(a))
	if a.role == owner {
		t.group = replaceLine(t.group, t.names.resource(a.name), fmt.Sprintf("%s:*:%d:", t.names.resource(a.name), a.gid))
	}
}

// checkName refuses the name of an account that no broker made.
func (t *table) checkName(name string) error {
	if _, ours := t.find(name); !ours && slices.ContainsFunc(t.passwd, isOf(t.names.resource(name))) {
		return fmt.Errorf("account %s exists and was not made by a broker; remove it, or set another prefix", t.names.resource(name))
	}
	return nil
}

// drop removes an account. An absent one is not an error.
func (t *table) drop(name string) {
	t.passwd = removeLine(t.passwd, t.names.resource(name))
	t.group = removeLine(t.group, t.names.resource(name))
}

// highest is the highest user number in a range; 0: there is none.
func (t *table) highest(first, last int64) (highest int64) {
	for _, line := range slices.Concat(t.passwd, t.group) {
		f := strings.SplitN(line, ":", 4)
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.ParseInt(f[2], 10, 64); err == nil && id >= first && id <= last {
			highest = max(highest, id)
		}
	}
	return highest
}

func isOf(name string) func(line string) bool {
	return func(line string) bool { return strings.HasPrefix(line, name+":") }
}

// replaceLine and removeLine copy lines, so that change can compare the table with what it was.
func replaceLine(lines []string, name, line string) []string {
	lines = slices.Clone(lines)
	if i := slices.IndexFunc(lines, isOf(name)); i >= 0 {
		lines[i] = line
		return lines
	}
	return append(lines, line)
}

func removeLine(lines []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(lines), isOf(name))
}
