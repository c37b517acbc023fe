package smb

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// role is what an account is for.
type role string

const (
	owner  role = "instance" // the owner of an instance's files; cannot log in
	reader role = "reader"   // a binding that only reads
	writer role = "writer"
	gone   role = "gone"   // a binding that is being revoked
	closed role = "closed" // a binding without logins, which may still have sessions
)

// account is an instance's or a binding's.
type account struct {
	name     string // Instance.Name or Binding.Name
	instance string // Instance.Name
	role     role
	uid, gid int64
}

// table is the content of the files passwd and group, line by line.
type table struct {
	names         namer
	passwd, group []string
}

// mark is in the comment of every account of a broker: "chandler INSTANCE ROLE".
const mark = "chandler"

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
	a.instance, a.role = comment[1], role(comment[2])
	uid, uidErr := strconv.ParseInt(f[2], 10, 64)
	gid, gidErr := strconv.ParseInt(f[3], 10, 64)
	a.uid, a.gid = uid, gid
	return a, uidErr == nil && gidErr == nil
}

// line is an account in the form of passwd(5). "*" is not the hash of any password.
func (t *table) line(a account) string {
	return fmt.Sprintf("%s:*:%d:%d:%s %s %s:/nonexistent:/usr/sbin/nologin", t.names.of(a.name), a.uid, a.gid, mark, a.instance, a.role)
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
	all := t.all()
	i := slices.IndexFunc(all, func(a account) bool { return a.name == name })
	if i < 0 {
		return account{}, false
	}
	return all[i], true
}

// bindings are the accounts of an instance's bindings.
func (t *table) bindings(instance string) []account {
	return slices.DeleteFunc(t.all(), func(a account) bool { return a.instance != instance || a.role == owner })
}

// put adds or changes an account. An instance's has a group of its own.
func (t *table) put(a account) {
	t.passwd = replaced(t.passwd, t.names.of(a.name), t.line(a))
	if a.role == owner {
		t.group = replaced(t.group, t.names.of(a.name), fmt.Sprintf("%s:*:%d:", t.names.of(a.name), a.gid))
	}
}

// taken refuses the name of an account that no broker made.
func (t *table) taken(name string) error {
	if _, ours := t.find(name); !ours && slices.ContainsFunc(t.passwd, isOf(t.names.of(name))) {
		return fmt.Errorf("account %s exists and was not made by a broker; remove it, or set another prefix", t.names.of(name))
	}
	return nil
}

// drop removes an account. An absent one is not an error.
func (t *table) drop(name string) {
	t.passwd = without(t.passwd, t.names.of(name))
	t.group = without(t.group, t.names.of(name))
}

// highest is the highest user number in a range; 0: there is none.
func (t *table) highest(first, last int64) (highest int64) {
	for _, lines := range [][]string{t.passwd, t.group} {
		for _, line := range lines {
			f := strings.Split(line, ":")
			if len(f) < 3 {
				continue
			}
			if id, err := strconv.ParseInt(f[2], 10, 64); err == nil && id >= first && id <= last {
				highest = max(highest, id)
			}
		}
	}
	return highest
}

func isOf(name string) func(line string) bool {
	return func(line string) bool { return strings.HasPrefix(line, name+":") }
}

func replaced(lines []string, name, line string) []string {
	if i := slices.IndexFunc(lines, isOf(name)); i >= 0 {
		lines = slices.Clone(lines)
		lines[i] = line
		return lines
	}
	return append(slices.Clip(lines), line)
}

func without(lines []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(lines), isOf(name))
}
