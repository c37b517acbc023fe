package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// checker reads one file and collects what is wrong with it.
type checker struct {
	file   string
	getenv func(string) (string, bool)
	faults Faults
	nodes  int
	said   map[string]bool
	// spared are variables that may be missing, because their values are not used.
	spared bool
	// left are services, and plans as service/plan, that leave took out.
	left map[string]bool
	// delivered is the section "delivery", for the keys of that name.
	delivered Deliveries
}

func (c *checker) add(line int, path, format string, args ...any) {
	c.faults = append(c.faults, Fault{
		File: c.file, Line: line, Path: path, Message: fmt.Sprintf(format, args...),
	})
}

// once adds a fault that would be found again at every value from here on.
func (c *checker) once(line int, format string, args ...any) {
	if c.said[format] {
		return
	}
	c.said[format] = true
	c.add(line, "", format, args...)
}

// wrong adds a fault of a value, and says where the value is from.
func (c *checker) wrong(n *node, format string, args ...any) {
	if n.unknown {
		return
	}
	message := fmt.Sprintf(format, args...)
	if len(n.variables) > 0 {
		message += " (the value is from ${" + strings.Join(n.variables, "}, ${") + "})"
	}
	c.add(n.line, n.path, "%s", message)
}

// show quotes a value, unless it is the environment's.
func show(n *node) string {
	if len(n.variables) > 0 {
		return "the value"
	}
	return quote(n.text)
}

// object is a mapping whose keys are known.
type object struct {
	c    *checker
	node *node
}

// object checks that n is a mapping with known keys only. What it returns can
// be asked for keys in any case.
func (c *checker) object(n *node, known ...string) object {
	if n == nil {
		return object{c, nil}
	}
	if n.kind != isMapping {
		c.wrong(n, "must be a mapping with the keys %s, not %s", list(known), n.kind)
		return object{c, nil}
	}
	for i, key := range n.keys {
		if !slices.Contains(known, key) {
			c.add(n.items[i].line, n.items[i].path, "no such key; the keys here are %s", list(known))
		}
	}
	return object{c, n}
}

// need reports the keys that are missing.
func (o object) need(keys ...string) {
	if o.node == nil {
		return
	}
	for _, key := range keys {
		if o.node.member(key) == nil {
			o.c.add(o.node.line, under(o.node.path, key), "is missing, and must be there")
		}
	}
}

// text returns the text under the key; empty is wrong, and absent is empty.
func (o object) text(key string) string {
	n := o.node.member(key)
	if n == nil {
		return ""
	}
	return o.c.text(n)
}

func (c *checker) text(n *node) string {
	switch {
	case n.kind == isNumber || n.kind == isFlag:
		c.wrong(n, "must be text, not %s; put it in quotes", n.kind)
	case n.kind != isText:
		c.wrong(n, "must be text, not %s", n.kind)
	case strings.TrimSpace(n.text) == "":
		c.wrong(n, "must not be empty")
	default:
		return n.text
	}
	return ""
}

// flag returns true or false; absent is the given default.
func (o object) flag(key string, otherwise bool) bool {
	n := o.node.member(key)
	if n == nil {
		return otherwise
	}
	if n.kind == isFlag || n.lone {
		if v, ok := parseFlag(n.text); ok {
			return v
		}
	}
	o.c.wrong(n, "must be true or false, not %s", n.kind)
	return otherwise
}

// parseFlag knows YAML 1.2's words for true and false.
func parseFlag(text string) (value, ok bool) {
	switch text {
	case "true", "True", "TRUE":
		return true, true
	case "false", "False", "FALSE":
		return false, true
	}
	return false, false
}

// whole returns a whole number from least to most; absent is 0.
func (o object) whole(key string, least, most int) int {
	n := o.node.member(key)
	if n == nil {
		return 0
	}
	if n.kind == isNumber || n.lone {
		if v, err := strconv.Atoi(n.text); err == nil && v >= least && v <= most {
			return v
		}
	}
	o.c.wrong(n, "must be a whole number from %d to %d", least, most)
	return 0
}

// size returns a number of bytes; absent is 0.
func (o object) size(key string) services.Size {
	n := o.node.member(key)
	if n == nil {
		return 0
	}
	var size services.Size
	_ = size.UnmarshalJSON(jsonText(n.text)) // what cannot be read is negative
	if n.kind != isText || size < 0 {
		o.c.wrong(n, "must be %s", services.SizeForm)
		return 0
	}
	return size
}

// longestDuration is a bound that no operator means to exceed.
const longestDuration = 10 * 365 * 24 * time.Hour

// duration returns a time of whole seconds; absent is 0.
func (o object) duration(key string) time.Duration {
	n := o.node.member(key)
	if n == nil {
		return 0
	}
	d, err := time.ParseDuration(n.text)
	if n.kind == isText && err == nil && d >= time.Second && d%time.Second == 0 && d <= longestDuration {
		return d
	}
	o.c.wrong(n, `must be a time of whole seconds, such as "30m" or "720h", of 10 years at most`)
	return 0
}

// list returns the items of the list under the key; absent is empty.
func (o object) list(key string) []*node {
	n := o.node.member(key)
	if n == nil {
		return nil
	}
	if n.kind != isList {
		o.c.wrong(n, "must be a list, not %s", n.kind)
		return nil
	}
	return n.items
}

// texts returns the list of texts under the key. Each may be there once.
func (o object) texts(key string) []string {
	texts := []string{}
	seen := make(map[string]bool)
	for _, item := range o.list(key) {
		text := o.c.text(item)
		if seen[text] {
			o.c.wrong(item, "%s is in the list already; remove one of the two", show(item))
			continue
		}
		if text != "" {
			seen[text] = true
			texts = append(texts, text)
		}
	}
	return texts
}

// unique reports a text that was seen before; seen maps it to its place.
func (c *checker) unique(n *node, text string, seen map[string]*node) {
	if n == nil || text == "" {
		return
	}
	if first, ok := seen[text]; ok {
		c.wrong(n, "%s is already used by %s on line %d; each must be unique", show(n), first.path, first.line)
		return
	}
	seen[text] = n
}
