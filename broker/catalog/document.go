package catalog

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxSize is far above any catalog.
	maxSize = 1 << 20
	// maxNodes limits how much aliases can multiply.
	maxNodes = 100_000
	// maxDepth limits the nesting, and with it an alias inside its own anchor.
	maxDepth = 100
)

// document reads the one YAML document of a file. It returns nil if it cannot read on; the
// faults say why.
func (c *checker) document(data []byte) *node {
	if len(data) > maxSize {
		c.add(0, "", "the file has %d bytes; a catalog has %d at most", len(data), maxSize)
		return nil
	}
	lines := bytes.Split(data, []byte("\n"))
	if i := slices.IndexFunc(lines, func(line []byte) bool { return !utf8.Valid(line) }); i >= 0 {
		c.add(i+1, "", "the file is not UTF-8; save it in that encoding")
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		c.syntax(err, data)
		return nil
	}
	if len(doc.Content) == 0 || doc.Content[0].ShortTag() == "!!null" {
		c.add(0, "", "the file is empty; a catalog has the keys backends, platforms and services")
		return nil
	}
	if err := dec.Decode(&more); err == nil {
		c.add(more.Line, "", "a second document begins here; a catalog is one: remove the line ---")
	} else if !errors.Is(err, io.EOF) {
		c.syntax(err, data)
	}
	return c.tree(doc.Content[0], "", 0)
}

var (
	yamlLine      = regexp.MustCompile(`line (\d+): `)
	unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)
)

// syntax reports the YAML parser's error without its quotes from the file, which may be a
// password that is not in quotes.
func (c *checker) syntax(err error, data []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := unknownAnchor.FindStringSubmatch(text); m != nil {
		line := 0
		if i := bytes.Index(data, []byte("*"+m[1])); i >= 0 {
			line = 1 + bytes.Count(data[:i], []byte("\n"))
		}
		c.add(line, "", "a value that begins with * refers to an anchor, which the file does not have; "+
			"put the value in quotes if it is text")
		return
	}
	line := 0
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = strings.Replace(text, m[0], "", 1)
	}
	c.add(line, "", "not valid YAML: %s", text)
}

// tree makes nodes of a YAML node and those below it.
func (c *checker) tree(y *yaml.Node, path string, depth int) *node {
	n := &node{kind: isNothing, line: y.Line, path: path}
	c.nodes++
	switch {
	case c.nodes > maxNodes:
		c.once(y.Line, "aliases make this file grow beyond %d values; write out less of it", maxNodes)
		return n
	case depth > maxDepth:
		c.once(y.Line, "the nesting is deeper than %d levels, or an alias is inside its own anchor", maxDepth)
		return n
	}
	switch y.Kind {
	case yaml.AliasNode:
		return c.tree(y.Alias, path, depth+1)
	case yaml.MappingNode:
		c.mapping(n, y, depth)
	case yaml.SequenceNode:
		n.kind = isList
		for i, item := range y.Content {
			n.items = append(n.items, c.tree(item, at(path, i), depth+1))
		}
	case yaml.ScalarNode:
		c.scalar(n, y)
	default:
	}
	return n
}

func (c *checker) mapping(n *node, y *yaml.Node, depth int) {
	n.kind = isMapping
	lines := make(map[string]int)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			c.add(key.Line, n.path, "a key must be text")
			continue
		case key.ShortTag() == "!!merge":
			c.add(key.Line, n.path, "merge keys (<<) are not supported; write the keys out")
			continue
		}
		path := under(n.path, key.Value)
		if first, ok := lines[key.Value]; ok {
			c.add(key.Line, path, "the key is there already, on line %d; remove one of the two", first)
			continue
		}
		lines[key.Value] = key.Line
		member := c.tree(value, path, depth+1)
		if value.Kind != yaml.AliasNode {
			member.line = key.Line // a fault belongs to the line that names the key
		}
		n.keys = append(n.keys, key.Value)
		n.items = append(n.items, member)
	}
}

func (c *checker) scalar(n *node, y *yaml.Node) {
	n.text = y.Value
	switch y.ShortTag() {
	case "!!null":
		n.kind = isNothing
	case "!!bool":
		n.kind = isFlag
	case "!!int", "!!float":
		n.kind = isNumber
	case "!!str":
		n.kind = isText
		c.substitute(n)
	case "!!timestamp":
		n.kind = isText // JSON has no dates: it stays as it is written
	default:
		c.add(y.Line, n.path, "the tag %s is not supported; write the value without it", quote(y.Tag))
		n.unknown = true
	}
}
