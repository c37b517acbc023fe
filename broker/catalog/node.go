package catalog

import (
	"regexp"
	"strconv"
)

type form string

// The forms are worded for messages.
const (
	isNothing form = "nothing"
	isMapping form = "a mapping"
	isList    form = "a list"
	isText    form = "text"
	isNumber  form = "a number"
	isFlag    form = "true or false"
)

// node is a value of the file, with aliases and variables replaced. An anchored value that
// is used twice has two nodes, each with the path of its use.
type node struct {
	kind form
	line int
	path string
	// text is a scalar's text; numbers and flags keep theirs.
	text string
	// variables are the names of the environment's variables in text.
	variables []string
	// lone says that text is the value of one variable, and so can have any type.
	lone bool
	// unknown says that a variable was missing, which is reported, so that further checks
	// of the value make no sense.
	unknown bool

	keys  []string // of a mapping, in order
	items []*node  // of a mapping or a list
}

// member returns the value of the key; nil if it is absent or null.
func (n *node) member(key string) *node {
	if n == nil || n.kind != isMapping {
		return nil
	}
	for i, k := range n.keys {
		if k == key && n.items[i].kind != isNothing {
			return n.items[i]
		}
	}
	return nil
}

// walk calls f for the node and everything below it.
func (n *node) walk(f func(*node)) {
	if n == nil {
		return
	}
	f(n)
	for _, item := range n.items {
		item.walk(f)
	}
}

// anyUnknown says whether a variable is missing in the node or below.
func (n *node) anyUnknown() bool {
	found := false
	n.walk(func(m *node) { found = found || m.unknown })
	return found
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,60}$`)

// under returns the path of a mapping's key.
func under(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

// at returns the path of a list's item.
func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }
