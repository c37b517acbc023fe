package catalog

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/chandler-broker/chandler/services"
)

// mostChoices is how many allowed values a message lists at most.
const mostChoices = 100

// renderer words the validator's errors for the user. Unlike the library's words they quote
// no values, which may be long or secret.
type renderer struct {
	schema any
	value  any
}

// render returns the complaints of an error: "parameters.role: must be …".
func (r renderer) render(e *jsonschema.ValidationError) []string {
	path := r.path(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf, *kind.OneOf:
		return []string{path + ": " + r.alternatives(e)}
	case *kind.AdditionalProperties:
		return unknown(path, k.Properties, r.known(e.SchemaURL))
	case *kind.Required:
		return each(k.Missing, func(name string) string { return under(path, name) + ": is required" })
	case *kind.Pattern:
		if words, ok := child(r.schemaAt(e.SchemaURL), "description").(string); ok {
			return []string{path + ": has the wrong form; expected: " + words + readable(k.Want)}
		}
	}
	if len(e.Causes) > 0 {
		return slices.Concat(each(e.Causes, r.render)...)
	}
	return []string{path + ": " + rule(e.ErrorKind)}
}

func each[From, To any](items []From, f func(From) To) []To {
	all := make([]To, 0, len(items))
	for _, item := range items {
		all = append(all, f(item))
	}
	return all
}

// readable quotes a regular expression that is short enough to read.
func readable(pattern string) string {
	const short = 40
	if len(pattern) > short {
		return ""
	}
	return " (" + pattern + ")"
}

// alternatives words a choice between schemas of which none fits.
func (r renderer) alternatives(e *jsonschema.ValidationError) string {
	if one, ok := e.ErrorKind.(*kind.OneOf); ok && len(one.Subschemas) > 0 {
		return "fits more than one of the forms that exclude each other"
	}
	forms := each(e.Causes, func(cause *jsonschema.ValidationError) string { return "(" + shorten(r.render(cause)) + ")" })
	return "fits none of the allowed forms: " + strings.Join(forms, " or ")
}

// unknown words parameters that the plan does not have, and lists the known ones.
func unknown(path string, names, known []string) []string {
	have := "this plan takes none here"
	if len(known) > 0 {
		have = "this plan knows " + list(known)
	}
	return each(names, func(name string) string { return under(path, name) + ": no such parameter; " + have })
}

// known returns the names of the properties of the schema at an address.
func (r renderer) known(address string) []string {
	properties, _ := child(r.schemaAt(address), "properties").(map[string]any)
	return slices.Sorted(maps.Keys(properties))
}

// schemaAt returns the schema at an address, whose fragment is a JSON pointer
// (RFC 6901).
func (r renderer) schemaAt(address string) any {
	_, fragment, _ := strings.Cut(address, "#")
	at := r.schema
	for _, token := range strings.Split(fragment, "/")[1:] {
		if plain, err := url.PathUnescape(token); err == nil {
			token = plain
		}
		token = strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~")
		at = child(at, token)
	}
	return at
}

func child(value any, token string) any {
	switch v := value.(type) {
	case map[string]any:
		return v[token]
	case []any:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(v) {
			return v[i]
		}
	}
	return nil
}

// path words the place of an error: parameters.extensions[0].
func (r renderer) path(location []string) string {
	path, value := "parameters", r.value
	for _, token := range location {
		if _, isArray := value.([]any); isArray {
			path += "[" + token + "]"
		} else {
			path = under(path, token)
		}
		value = child(value, token)
	}
	return path
}

// rule words the rule that a value violates.
func rule(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case *kind.Type:
		return wrongType(k)
	case *kind.Enum:
		return choices(k.Want)
	case *kind.Pattern:
		return "must match the regular expression " + k.Want
	case *kind.Format:
		return "must have the format " + k.Want
	case *kind.Not:
		return "has a form that is excluded"
	case *kind.Dependency:
		return fmt.Sprintf("%s must be there too, because %s is", list(k.Missing), k.Prop)
	case *kind.UniqueItems:
		return fmt.Sprintf("items %d and %d are equal; each must be there once", k.Duplicates[0], k.Duplicates[1])
	case *kind.AdditionalItems:
		return fmt.Sprintf("has %d item(s) too many", k.Count)
	case *kind.Minimum:
		return "must be at least " + number(k.Want)
	case *kind.Maximum:
		return "must be at most " + number(k.Want)
	case *kind.ExclusiveMinimum:
		return "must be greater than " + number(k.Want)
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want)
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want)
	case *kind.MinLength:
		return fmt.Sprintf("must have at least %d character(s)", k.Want)
	case *kind.MaxLength:
		return fmt.Sprintf("must have at most %d character(s)", k.Want)
	case *kind.MinItems:
		return fmt.Sprintf("must have at least %d item(s)", k.Want)
	case *kind.MaxItems:
		return fmt.Sprintf("must have at most %d item(s)", k.Want)
	case *kind.MinProperties:
		return fmt.Sprintf("must have at least %d member(s)", k.Want)
	case *kind.MaxProperties:
		return fmt.Sprintf("must have at most %d member(s)", k.Want)
	}
	return "violates the rule " + strings.Join(k.KeywordPath(), ".") + " of the plan's schema"
}

func wrongType(k *kind.Type) string {
	want := "must be " + strings.Join(each(k.Want, services.TypeName), " or ")
	if k.Got == "number" && slices.Contains(k.Want, "integer") {
		return want + ", without a fraction"
	}
	return want + ", not " + services.TypeName(k.Got)
}

func choices(allowed []any) string {
	more := ""
	if n := len(allowed); n > mostChoices {
		allowed, more = allowed[:mostChoices], fmt.Sprintf(" and %d more", n-mostChoices)
	}
	words := each(allowed, func(value any) string {
		text, _ := json.Marshal(value) // it came from JSON
		return string(text)
	})
	if len(words) == 1 {
		return "must be " + words[0]
	}
	return "must be one of " + strings.Join(words, ", ") + more
}

// number writes a bound as the schema does.
func number(r *big.Rat) string {
	if r.IsInt() {
		return r.Num().String()
	}
	return strings.TrimRight(r.FloatString(6), "0")
}
