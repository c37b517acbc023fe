package catalog

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

var variable = regexp.MustCompile(`\$?\$\{[^}]*\}?`)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// substitute replaces each ${NAME} in a text by the environment's variable, and
// $${ by ${ itself. It works on parsed text, so values cannot change the structure of the
// file, and are not read again for further variables.
func (c *checker) substitute(n *node) {
	text := n.text
	n.text = variable.ReplaceAllStringFunc(text, func(match string) string {
		if strings.HasPrefix(match, "$$") {
			return match[1:]
		}
		name, closed := strings.CutSuffix(match[len("${"):], "}")
		return c.variable(n, name, closed)
	})
	n.lone = len(n.variables) == 1 && text == "${"+n.variables[0]+"}"
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
