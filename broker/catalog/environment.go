package catalog

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

var variable = regexp.MustCompile(`\$?\$\{([^}]*)(\}?)`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// substitute replaces each ${NAME} in a text by the environment's variable, and
// $${ by ${ itself. It works on parsed text, so no value can change the
// structure of the file, and a value is not read again for further variables.
func (c *checker) substitute(n *node) {
	text := n.text
	found := variable.FindAllStringSubmatchIndex(text, -1)
	if len(found) == 0 {
		return
	}
	var b strings.Builder
	end := 0
	for _, m := range found {
		b.WriteString(text[end:m[0]])
		if text[m[0]+1] == '$' {
			b.WriteString(text[m[0]+1 : m[1]])
		} else {
			b.WriteString(c.variable(n, text[m[2]:m[3]], m[4] < m[5]))
		}
		end = m[1]
	}
	b.WriteString(text[end:])
	n.lone = len(n.variables) == 1 && text == "${"+n.variables[0]+"}"
	n.text = b.String()
}

// variable returns the value of one ${name}.
func (c *checker) variable(n *node, name string, closed bool) string {
	if !closed || !variableName.MatchString(name) {
		n.unknown = true
		c.add(n.line, n.path, "${ must be followed by the name of an environment variable and }; "+
			"write $${ for the characters ${ themselves")
		return ""
	}
	n.variables = append(n.variables, name)
	value, ok := c.getenv(name)
	switch {
	case !ok && c.namesOnly:
		n.unknown = true
	case !ok:
		n.unknown = true
		c.add(n.line, n.path, "the environment variable %s is not set; set it, "+
			"or write $${%s} for these characters themselves", name, name)
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		n.unknown = true
		c.add(n.line, n.path, "the value of the environment variable %s is not UTF-8 text", name)
	}
	return value
}
