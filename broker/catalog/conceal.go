package catalog

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

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
