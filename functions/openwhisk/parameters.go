package openwhisk

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// keyValue is a parameter or an annotation. Init puts it into the environment, not the input.
type keyValue struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
	Init  bool            `json:"init,omitempty"`
}

// keyValues are parameters or annotations with unique keys.
type keyValues []keyValue

// mostKeys limits the parameters, and the annotations, of an entity.
const mostKeys = 1000

// UnmarshalJSON reads an array of {key, value}. The last one wins among equal keys.
func (kvs *keyValues) UnmarshalJSON(data []byte) error {
	var read []keyValue
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	for i, kv := range read {
		if strings.TrimSpace(kv.Key) == "" {
			return malformed("parameters and annotations need a key that is not empty")
		}
		if len(kv.Value) == 0 {
			read[i].Value = json.RawMessage("null")
		}
	}
	*kvs = keyValues{}.merged(read)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (kvs keyValues) MarshalJSON() ([]byte, error) { return kvs.encode(), nil }

// get returns the value of key; nil if it is absent.
func (kvs keyValues) get(key string) json.RawMessage {
	for _, kv := range kvs {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}

func (kvs keyValues) is(key string) bool {
	return string(bytes.TrimSpace(kvs.get(key))) == "true"
}

// text is the value of key if that is a string, else empty.
func (kvs keyValues) text(key string) (s string) {
	_ = json.Unmarshal(kvs.get(key), &s)
	return s
}

func (kvs keyValues) set(key string, value any) keyValues {
	return kvs.merged(keyValues{{Key: key, Value: toJSON(value)}})
}

func (kvs keyValues) without(keys ...string) keyValues {
	removed := make(map[string]bool, len(keys))
	for _, key := range keys {
		removed[key] = true
	}
	return slices.DeleteFunc(slices.Clone(kvs), func(kv keyValue) bool { return removed[kv.Key] })
}

// merged returns kvs with all of over, which wins.
func (kvs keyValues) merged(over keyValues) keyValues {
	out := make(keyValues, 0, len(kvs)+len(over))
	at := make(map[string]int, cap(out))
	for _, kv := range slices.Concat(kvs, over) {
		if i, known := at[kv.Key]; known {
			out[i] = kv
			continue
		}
		at[kv.Key] = len(out)
		out = append(out, kv)
	}
	return out
}

// encode returns an array, never null.
func (kvs keyValues) encode() []byte {
	if kvs == nil {
		return []byte("[]")
	}
	return toJSON([]keyValue(kvs))
}

// toJSON encodes strings, numbers and decoded JSON, which cannot fail.
func toJSON(value any) json.RawMessage {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return raw
}

// size is the number of bytes of JSON, which the plan limits.
func (kvs keyValues) size() int64 { return int64(len(kvs.encode())) }

// object is a JSON object with undecoded values.
type object map[string]json.RawMessage

// input is an action's input: its parameters and payload, which wins.
func (kvs keyValues) input(payload object) object {
	in := make(object, len(kvs)+len(payload))
	for _, kv := range kvs {
		if !kv.Init {
			in[kv.Key] = kv.Value
		}
	}
	maps.Copy(in, payload)
	return in
}

// variables are the parameters for the environment: strings unchanged, other values as JSON.
func (kvs keyValues) variables(all bool) map[string]string {
	out := map[string]string{}
	for _, kv := range kvs {
		if !kv.Init && !all {
			continue
		}
		var text string
		if json.Unmarshal(kv.Value, &text) != nil {
			text = string(kv.Value)
		}
		// An environment cannot contain others (POSIX, section 8.1).
		if !strings.ContainsAny(kv.Key, "=\x00") && !strings.Contains(text, "\x00") {
			out[kv.Key] = text
		}
	}
	return out
}

// overriddenBy says whether any of these keys is that of a parameter with a value.
func (kvs keyValues) overriddenBy(keys map[string]bool) bool {
	return slices.ContainsFunc(kvs, func(kv keyValue) bool {
		return keys[kv.Key] && string(bytes.TrimSpace(kv.Value)) != "null"
	})
}

func (o object) keys() map[string]bool {
	keys := make(map[string]bool, len(o))
	for k := range o {
		keys[k] = true
	}
	return keys
}

func (o object) encode() []byte {
	if o == nil {
		return []byte("{}")
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		panic(err) // values were decoded from JSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// truthy says whether a value counts as true (Parameters.isTruthy): all but false, 0, ""
// and null do.
func truthy(raw json.RawMessage) bool {
	switch text := string(bytes.TrimSpace(raw)); text {
	case "", "false", "null", `""`:
		return false
	default:
		var number float64
		return json.Unmarshal(raw, &number) != nil || number != 0
	}
}
