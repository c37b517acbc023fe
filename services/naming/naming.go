// Package naming names what backends make on servers, and reads the names back.
package naming

import (
	"fmt"
	"regexp"
)

// Safe matches an Instance.Name or a Binding.Name as a part of a name.
const Safe = `([a-z2-7]{26})`

// Rule matches a whole name; its groups are the Instance.Name and Binding.Name in it.
type Rule struct{ expression *regexp.Regexp }

// NewRule makes a Rule of a regular expression.
func NewRule(expression string) Rule { return Rule{regexp.MustCompile(`^` + expression + `$`)} }

// Instance returns the first group of a name that the rule matches.
func (r Rule) Instance(name string) (instance string, ok bool) {
	m := r.expression.FindStringSubmatch(name)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// Binding returns the first two groups of a name that the rule matches.
func (r Rule) Binding(name string) (instance, binding string, ok bool) {
	m := r.expression.FindStringSubmatch(name)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// String is the rule for servers that match names themselves.
func (r Rule) String() string { return r.expression.String() }

// MaxPrefix is the usual maximum length of a prefix.
const MaxPrefix = 8

var prefixRule = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// CheckPrefix checks the configuration key prefix, which begins all names that a backend
// makes, so that brokers can share a server.
func CheckPrefix(prefix string, most int) error {
	if len(prefix) > most || !prefixRule.MatchString(prefix) {
		return fmt.Errorf("prefix: must be 1 to %d characters of a-z and 0-9 and begin with a letter", most)
	}
	return nil
}
