package openwhisk

import (
	"encoding/json"
	"regexp"
	"strings"
)

// maxName is the longest name of an entity, as in OpenWhisk.
const maxName = 256

// nameRule is OpenWhisk's (EntityName.REGEX).
var nameRule = regexp.MustCompile(`\A(\w|\w[\w@ .-]*[\w@.-]+)\z`)

func validName(s string) bool { return len(s) <= maxName && nameRule.MatchString(s) }

// systemNamespace has the native actions; the names of other namespaces contain no dot.
const systemNamespace = "whisk.system"

// ownNamespace denotes the namespace of the caller's key.
const ownNamespace = "_"

// qualified is the full name of an entity; pkg is empty outside packages.
type qualified struct{ namespace, pkg, name string }

// path is "namespace" or "namespace/package".
func (q qualified) path() string { return strings.TrimSuffix(q.namespace+"/"+q.pkg, "/") }

func (q qualified) String() string { return q.path() + "/" + q.name }

// local is "name" or "package/name".
func (q qualified) local() string { return strings.TrimPrefix(q.pkg+"/"+q.name, "/") }

// parseQualified reads "[/]namespace/[package/]name"; the namespace "_" is own.
func parseQualified(s, own string) (qualified, error) {
	parts := strings.Split(strings.TrimPrefix(s, "/"), "/")
	if len(parts) < 2 || len(parts) > 3 {
		return qualified{}, errQualifiedName
	}
	q := qualified{namespace: parts[0], name: parts[len(parts)-1]}
	if len(parts) == 3 {
		q.pkg = parts[1]
	}
	if q.namespace == ownNamespace {
		q.namespace = own
	}
	for _, part := range parts {
		if !validName(part) {
			return qualified{}, errEntityName
		}
	}
	return q, nil
}

// reference names another entity in answers, and in requests, which may also use a string.
type reference struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

func (q qualified) reference() reference { return reference{q.path(), q.name} }

// parseReference reads a reference from a request's body; zero if it is absent.
func parseReference(raw json.RawMessage, own string) (qualified, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return qualified{}, nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var r reference
		if json.Unmarshal(raw, &r) != nil {
			return qualified{}, errQualifiedName
		}
		text = r.Path + "/" + r.Name
	}
	return parseQualified(text, own)
}
