package broker

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"

	"github.com/chandler-broker/chandler/services"
)

// object returns a request's field, a JSON object, in canonical form: absent, null and {}
// are the same, keys sorted, numbers as they were written, valid UTF-8.
func object(field string, raw json.RawMessage) (json.RawMessage, error) {
	m, err := decodeObject(raw)
	if err != nil {
		return nil, fail(Invalid, "%s: must be a JSON object", field)
	}
	return json.Marshal(m)
}

func decodeObject(raw json.RawMessage) (map[string]any, error) {
	m := map[string]any{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return m, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		return nil, err
	}
	if m == nil { // null
		m = map[string]any{}
	}
	return m, nil
}

// sameJSON compares two JSON objects by meaning: 1.0 equals 1, and keys have no order.
func sameJSON(a, b json.RawMessage) bool {
	x, errX := decodeObject(a)
	y, errY := decodeObject(b)
	return errX == nil && errY == nil && sameValue(x, y)
}

func sameValue(a, b any) bool {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, sameValue)
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, sameValue)
	case json.Number:
		y, ok := b.(json.Number)
		return ok && services.SameNumber(x, y)
	default:
		return a == b
	}
}

// merge replaces top-level keys of base by those of patch.
func merge(base, patch json.RawMessage) (json.RawMessage, error) {
	m, err := decodeObject(base)
	if err != nil {
		return nil, err
	}
	p, err := decodeObject(patch)
	if err != nil {
		return nil, err
	}
	maps.Copy(m, p)
	return json.Marshal(m)
}
