package catalog

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// key is a key of the file and the field of a struct that has its value.
type key struct {
	name          string
	required, raw bool
	bounds        string
	field         []int
}

// keysOf returns the keys of a struct: the names in the tags "yaml" or else "json". After
// the name, "required" demands the key, and "raw" leaves its value to the caller. The tag
// "bounds" limits a whole number.
func keysOf(t reflect.Type) []key {
	var keys []key
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" {
			name, _, _ = strings.Cut(f.Tag.Get("json"), ",")
		}
		if name != "" && name != "-" {
			keys = append(keys, key{name, strings.Contains(options, "required"), strings.Contains(options, "raw"), f.Tag.Get("bounds"), f.Index})
		}
	}
	return keys
}

// read fills the struct that into points to from a mapping, without some of the struct's
// keys. A field whose key is absent stays as it is. A struct with the method check checks
// itself. The result is false if n is not a mapping.
func (c *checker) read(n *node, into any, without ...string) bool {
	target := reflect.ValueOf(into).Elem()
	keys := slices.DeleteFunc(keysOf(target.Type()), func(k key) bool { return slices.Contains(without, k.name) })
	names := each(keys, func(k key) string { return k.name })
	if n.kind != isMapping {
		c.wrong(n, "must be a mapping with the keys %s, not %s", list(names), n.kind)
		return false
	}
	for i, name := range n.keys {
		if !slices.Contains(names, name) {
			c.add(n.items[i].line, n.items[i].path, "no such key; the keys here are %s", list(names))
		}
	}
	for _, k := range keys {
		switch m := n.member(k.name); {
		case m == nil && k.required:
			c.add(n.line, under(n.path, k.name), "is required")
		case m != nil && !k.raw:
			c.value(m, target.FieldByIndex(k.field), k.bounds)
		}
	}
	if checked, ok := into.(interface{ check(c *checker, n *node) }); ok {
		checked.check(c, n)
	}
	return true
}

// value reads a value into a field.
func (c *checker) value(n *node, field reflect.Value, bounds string) {
	switch into := field.Addr().Interface().(type) {
	case **node:
		*into = n
	case *[]*node:
		*into = c.list(n)
	case *string:
		*into = c.text(n)
	case *services.Secret:
		*into = services.NewSecret(c.text(n))
	case *[]string:
		*into = c.texts(n)
	case *bool:
		c.flag(n, into)
	case *int:
		c.whole(n, into, bounds)
	case *services.Size:
		c.size(n, into)
	case *time.Duration:
		c.duration(n, into)
	default:
		if field.Kind() == reflect.Pointer {
			field.Set(reflect.New(field.Type().Elem()))
			field = field.Elem()
		}
		c.read(n, field.Addr().Interface())
	}
}

// text returns a text that is not empty. It is empty if n is nil or at fault.
func (c *checker) text(n *node) string {
	switch {
	case n == nil:
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

func (c *checker) flag(n *node, into *bool) {
	if n.kind == isFlag || n.lone {
		if v, ok := parseFlag(n.text); ok {
			*into = v
			return
		}
	}
	c.wrong(n, "must be true or false, not %s", n.kind)
}

// parseFlag knows YAML 1.2's words for true and false.
func parseFlag(text string) (value, ok bool) {
	value, ok = map[string]bool{"true": true, "True": true, "TRUE": true, "false": false, "False": false, "FALSE": false}[text]
	return value, ok
}

func (c *checker) whole(n *node, into *int, bounds string) {
	least, most, _ := strings.Cut(bounds, "-")
	lower, _ := strconv.Atoi(least)
	upper, _ := strconv.Atoi(most)
	if n.kind == isNumber || n.lone {
		if v, err := strconv.Atoi(n.text); err == nil && v >= lower && v <= upper {
			*into = v
			return
		}
	}
	c.wrong(n, "must be a whole number from %s to %s", least, most)
}

func (c *checker) size(n *node, into *services.Size) {
	var size services.Size
	_ = size.UnmarshalJSON(jsonText(n.text)) // an unreadable size is negative
	if n.kind != isText || size < 0 {
		c.wrong(n, "must be %s", services.SizeForm)
		return
	}
	*into = size
}

// longestDuration is a bound that no operator means to exceed.
const longestDuration = 10 * 365 * 24 * time.Hour

func (c *checker) duration(n *node, into *time.Duration) {
	d, err := time.ParseDuration(n.text)
	if n.kind != isText || err != nil || d < time.Second || d%time.Second != 0 || d > longestDuration {
		c.wrong(n, `must be a time of whole seconds, such as "30m" or "720h", of 10 years at most`)
		return
	}
	*into = d
}

// list returns the items of a list; none if n is nil or at fault.
func (c *checker) list(n *node) []*node {
	if n == nil {
		return nil
	}
	if n.kind != isList {
		c.wrong(n, "must be a list, not %s", n.kind)
		return nil
	}
	return n.items
}

// texts returns a list of texts without repetitions.
func (c *checker) texts(n *node) []string {
	texts, seen := []string{}, map[string]bool{"": true}
	for _, item := range c.list(n) {
		text := c.text(item)
		if text != "" && seen[text] {
			c.wrong(item, "%s is in the list already; remove one of the two", show(item))
		}
		if !seen[text] {
			texts, seen[text] = append(texts, text), true
		}
	}
	return texts
}
