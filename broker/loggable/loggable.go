// Package loggable takes the values of parameters out of descriptions: backends
// quote what they refuse, and a user may have put a secret there.
package loggable

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

const (
	mask = "[...]"
	// longest is how many bytes of a description are logged.
	longest = 1000
	// A shorter value is masked where it is a word of its own only: every
	// description holds an "a".
	shortValue = 4
)

// Text is a description without the values of the parameters, as far as a log may
// hold it.
func Text(description string, parameters ...json.RawMessage) string {
	for _, value := range values(parameters) {
		description = masked(description, value)
	}
	if len(description) > longest {
		description = strings.ToValidUTF8(description[:longest], "") + "..."
	}
	return description
}

// values are all texts and numbers of the documents, as a description may quote
// them, the longest first.
func values(documents []json.RawMessage) []string {
	var all []string
	for _, document := range documents {
		d := json.NewDecoder(bytes.NewReader(document))
		d.UseNumber()
		var value any
		if d.Decode(&value) == nil {
			all = appendValues(all, value)
		}
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}

func appendValues(all []string, value any) []string {
	switch v := value.(type) {
	case map[string]any:
		for _, member := range v {
			all = appendValues(all, member)
		}
	case []any:
		for _, item := range v {
			all = appendValues(all, item)
		}
	case json.Number:
		all = append(all, v.String())
	case string:
		quoted := strconv.Quote(v)
		all = append(all, v, quoted[1:len(quoted)-1])
		all = append(all, strings.Fields(v)...)
	}
	return all
}

// masked replaces the value in text, in upper or lower case.
func masked(text, value string) string {
	if value == "" {
		return text
	}
	var out strings.Builder
	in, value := lower(text), lower(value)
	for {
		i := strings.Index(in, value)
		if i < 0 {
			out.WriteString(text)
			return out.String()
		}
		end := i + len(value)
		if len(value) < shortValue && (i > 0 && letter(in[i-1]) || end < len(in) && letter(in[end])) {
			out.WriteString(text[:end])
		} else {
			out.WriteString(text[:i] + mask)
		}
		text, in = text[end:], in[end:]
	}
}

// lower keeps the length of what it is given.
func lower(text string) string {
	out := []byte(text)
	for i, c := range out {
		if c >= 'A' && c <= 'Z' {
			out[i] = c + 'a' - 'A'
		}
	}
	return string(out)
}

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_'
}
