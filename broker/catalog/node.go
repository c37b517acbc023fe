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

// node is a value of the file once aliases are followed and variables are read.
// Every node of the tree is its own: an anchored value that is used twice is
// there twice, each with the path of its use.
type node struct {
	kind form
	line int
	path string
	// text is a scalar's text; numbers and flags keep theirs.
	text string
	// variables are the names of the environment's variables that text was
	// made from.
	variables []string
	// lone says that text is one variable's value and nothing else, so that it
	// takes the type that is asked for.
	lone bool
	// unknown says that a variable was missing: the fault is reported, and
	// nothing else can be said of the value.
	unknown bool

	keys  []string // of a mapping, in order
	items []*node  // of a mapping or a list
}

// member returns the value under the key, nil where there is none.
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

// anyUnknown says whether a variable is missing in the node or below it.
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
