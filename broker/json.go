package broker

import (
	"bytes"
	"encoding/json"
	"maps"

	"github.com/chandler-broker/chandler/services"
)

// object returns a JSON object in canonical form: absent, null and {} are the
// same, keys sorted, numbers as they were written, valid UTF-8.
func object(raw json.RawMessage) (json.RawMessage, error) {
	m, err := decodeObject(raw)
	if err != nil {
		return nil, err
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

// sameJSON compares two JSON objects by meaning: 1.0 is 1, and the order of keys
// does not count.
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
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !sameValue(x[i], y[i]) {
				return false
			}
		}
		return true
	case json.Number:
		y, ok := b.(json.Number)
		return ok && services.SameNumber(x, y)
	default:
		return a == b
	}
}

// merge lays patch over base, key by key at the top level.
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
