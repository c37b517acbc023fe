package catalog

import (
	"net/url"
	"regexp"
	"strconv"
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

const (
	concealed = "[redacted]"
	// shortestConcealed is the length of the shortest secrets. Without it, a variable with
	// the value 1 would conceal every 1 of a message.
	shortestConcealed = 4
)

var quoted = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|`[^`]*`|'[^']*'")

// conceal removes the environment's values below n from the text of a backend's error: whole
// values, passwords in URLs, and every quoted part of a value, such as those in errors of
// net/url.
func conceal(text string, n *node) string {
	var values []string
	n.walk(func(m *node) {
		if len(m.variables) > 0 && m.text != "" {
			values = append(values, m.text)
		}
	})
	text = quoted.ReplaceAllStringFunc(text, func(q string) string {
		for _, value := range values {
			if reveals(q, value) {
				return `"` + concealed + `"`
			}
		}
		return q
	})
	for _, value := range values {
		for _, secret := range append(passwords(value), value) {
			if len(secret) >= shortestConcealed {
				text = strings.ReplaceAll(text, secret, concealed)
			}
		}
	}
	return text
}

// reveals says whether a quoted string is part of a value or contains one.
func reveals(q, value string) bool {
	inner := q[1 : len(q)-1]
	if plain, err := strconv.Unquote(q); err == nil {
		inner = plain
	}
	inner = strings.Trim(inner, ": ")
	return inner != "" && (strings.Contains(value, inner) || strings.Contains(inner, value))
}

var passwordParts = []*regexp.Regexp{
	regexp.MustCompile(`://[^:/@]*:(.+)@`),           // of a URL
	regexp.MustCompile(`password=('[^']*'|[^&\s]+)`), // of a connection string or a query
}

// passwords returns the passwords in a value, as written and decoded.
func passwords(value string) []string {
	var found []string
	for _, part := range passwordParts {
		for _, m := range part.FindAllStringSubmatch(value, -1) {
			found = append(found, m[1], strings.Trim(m[1], "'"))
			if decoded, err := url.PathUnescape(m[1]); err == nil {
				found = append(found, decoded)
			}
		}
	}
	return found
}
