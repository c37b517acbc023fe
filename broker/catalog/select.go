package catalog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Select removes from the text of a catalog the backends whose type is not in types,
// their plans, and services that then have no plan. Everything else stays as it is,
// comments included; a comment belongs to the entry below it.
func Select(source []byte, types []string) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(source, &doc); err != nil || len(doc.Content) == 0 {
		return nil, errors.Join(errors.New("the catalog cannot be read"), err)
	}
	s := selection{lines: strings.Split(strings.TrimRight(string(source), "\n"), "\n"), gone: map[string]bool{}}
	s.cutBackends(memberOf(doc.Content[0], "backends"), types)
	if len(s.gone) > 0 {
		s.cutPlans(memberOf(doc.Content[0], "services"))
	}
	for _, wanted := range types {
		if !slices.Contains(s.kept, wanted) {
			return nil, fmt.Errorf("the catalog has no backend of type %s; there are %s", quote(wanted), list(s.kinds))
		}
	}
	return []byte(s.text()), nil
}

// selection is a text with the lines that are to go.
type selection struct {
	lines []string
	cut   []bool
	gone  map[string]bool // backends, by name
	kinds []string        // of all backends
	kept  []string        // of those that stay
}

func (s *selection) cutBackends(backends *yaml.Node, types []string) {
	s.cut = make([]bool, len(s.lines))
	for i := 0; backends != nil && i+1 < len(backends.Content); i += 2 {
		name, kind := backends.Content[i], memberOf(backends.Content[i+1], "type")
		if kind == nil {
			continue
		}
		s.kinds = append(s.kinds, kind.Value)
		if slices.Contains(types, kind.Value) {
			s.kept = append(s.kept, kind.Value)
			continue
		}
		s.gone[name.Value] = true
		s.cutEntry(name.Line)
	}
}

func (s *selection) cutPlans(services *yaml.Node) {
	for i := 0; services != nil && i < len(services.Content); i++ {
		var cut []*yaml.Node
		plans := memberOf(services.Content[i], "plans")
		if plans == nil {
			continue
		}
		for _, plan := range plans.Content {
			if backend := memberOf(plan, "backend"); backend != nil && s.gone[backend.Value] {
				cut = append(cut, plan)
			}
		}
		if len(cut) == len(plans.Content) {
			cut = []*yaml.Node{services.Content[i]}
		}
		for _, n := range cut {
			s.cutEntry(n.Line)
		}
	}
}

// cutEntry cuts the member of a mapping or the item of a list that begins on the line,
// with the comment above it: all that is indented further.
func (s *selection) cutEntry(line int) {
	first := line - 1
	indent := indentOf(s.lines[first])
	end := first + 1
	for end < len(s.lines) && (blank(s.lines[end]) || indentOf(s.lines[end]) > indent) {
		end++
	}
	for first > 0 && indentOf(s.lines[first-1]) == indent && strings.HasPrefix(strings.TrimSpace(s.lines[first-1]), "#") {
		first--
	}
	for ; first < end; first++ {
		s.cut[first] = true
	}
}

// text is the remaining text, with one blank line between entries.
func (s *selection) text() string {
	var b bytes.Buffer
	divide, last := false, ""
	for i, line := range s.lines {
		switch {
		case s.cut[i]:
			divide = true
			continue
		case blank(line):
			divide = true
			continue
		}
		if divide && b.Len() > 0 && !strings.HasSuffix(last, ":") {
			b.WriteByte('\n')
		}
		b.WriteString(line + "\n")
		divide, last = false, line
	}
	return b.String()
}

func blank(line string) bool { return strings.TrimSpace(line) == "" }

func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// memberOf returns the value of a key, or nil if the mapping lacks the key.
func memberOf(n *yaml.Node, key string) *yaml.Node {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}
