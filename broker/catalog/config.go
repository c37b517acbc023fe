package catalog

import (
	"bytes"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// config decodes a backend's or a plan's own configuration and reports decode's errors
// as faults. target is the type that decode decodes into. If n is nil, the
// configuration is empty, which may be wrong as well; owner is where it would be.
func (c *checker) config(owner, n *node, target reflect.Type, decode func(json.RawMessage) error) {
	if n == nil {
		n = &node{kind: isMapping, line: owner.line, path: under(owner.path, "config")}
	}
	if n.kind != isMapping {
		c.wrong(n, "must be a mapping, not %s", n.kind)
		return
	}
	encoded := c.encode(n, target)
	if n.anyUnknown() {
		return // the missing variables are reported already
	}
	if err := decode(encoded); err != nil {
		for _, e := range flatten(err) {
			c.configFault(n, e.Error())
		}
	}
}

// encode returns a node as JSON. A variable that stands alone becomes a number, true or
// false if t asks for that.
func (c *checker) encode(n *node, t reflect.Type) []byte {
	var parts [][]byte
	if n.kind == isMapping {
		for i, key := range n.keys {
			if item := n.items[i]; item.kind != isNothing { // a null is absent; clients refuse nulls in metadata
				parts = append(parts, slices.Concat(jsonText(key), []byte(":"), c.encode(item, below(t, key))))
			}
		}
		return slices.Concat([]byte("{"), bytes.Join(parts, []byte(",")), []byte("}"))
	}
	if n.kind == isList {
		for _, item := range n.items {
			parts = append(parts, c.encode(item, below(t, "")))
		}
		return slices.Concat([]byte("["), bytes.Join(parts, []byte(",")), []byte("]"))
	}
	return c.scalarJSON(n, t)
}

func (c *checker) scalarJSON(n *node, t reflect.Type) []byte {
	switch {
	case n.kind == isNothing:
		return []byte("null")
	case n.kind == isFlag:
		return []byte(strings.ToLower(n.text))
	case n.kind == isNumber:
		return c.number(n)
	case n.lone && wanted(t) == reflect.Bool:
		if v, ok := parseFlag(n.text); ok {
			return strconv.AppendBool(nil, v)
		}
	case n.lone && wanted(t) == reflect.Float64 && isJSONNumber(n.text):
		return []byte(n.text)
	}
	return jsonText(n.text)
}

// number writes YAML's numbers, which have more forms than JSON's.
func (c *checker) number(n *node) []byte {
	if isJSONNumber(n.text) {
		return []byte(n.text)
	}
	var value any
	y := yaml.Node{Kind: yaml.ScalarNode, Value: n.text}
	if err := y.Decode(&value); err == nil {
		if text, err := json.Marshal(value); err == nil {
			return text
		}
	}
	c.wrong(n, "%s is not a number that JSON can express", show(n)) // .inf, .nan
	n.unknown = true
	return []byte("0")
}

func isJSONNumber(text string) bool {
	if text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') {
		return false
	}
	return json.Valid([]byte(text))
}

func jsonText(s string) []byte {
	text, _ := json.Marshal(s) // a string always has a JSON form
	return text
}

func indirect(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// below returns the type that a member of t decodes into; nil if it is unknown.
func below(t reflect.Type, key string) reflect.Type {
	t = indirect(t)
	switch {
	case t == nil:
	case t.Kind() == reflect.Map || t.Kind() == reflect.Slice || t.Kind() == reflect.Array:
		return t.Elem()
	case t.Kind() == reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); f.IsExported() && name == key {
				return f.Type
			}
		}
	}
	return nil
}

// wanted returns the kind of JSON value that t asks for: Bool, Float64 for any number, or
// Invalid. A type that decodes itself, such as a duration "30s", asks for none.
func wanted(t reflect.Type) reflect.Kind {
	t = indirect(t)
	switch {
	case t == nil || reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]()):
	case t.Kind() == reflect.Bool:
		return reflect.Bool
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64:
		return reflect.Float64
	}
	return reflect.Invalid
}

// flatten returns the errors that errors.Join joined.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // a join below a wrapping is one error
	if !ok {
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

var keyAndMessage = regexp.MustCompile(`(?s)^([A-Za-z0-9_-]+(?:\[\d+\]|\.[A-Za-z0-9_-]+)*): (.*)$`)

// configFault reports an error of a backend's check at the key that it names.
func (c *checker) configFault(n *node, text string) {
	text = strings.ReplaceAll(conceal(text, n), "\n", "; ")
	place := &node{line: n.line, path: n.path}
	if m := keyAndMessage.FindStringSubmatch(text); m != nil {
		text = m[2]
		place.path = under(n.path, m[1])
		if !plainKey.MatchString(m[1]) {
			place.path = n.path + "." + m[1]
		}
		n.walk(func(below *node) {
			if below.path == place.path {
				place = below
			}
		})
	}
	c.add(place.line, place.path, "%s", text)
}
