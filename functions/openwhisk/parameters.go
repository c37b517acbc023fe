package openwhisk

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// keyValue is a parameter or an annotation. Init says that a parameter goes into
// the action's environment and not into its input.
type keyValue struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
	Init  bool            `json:"init,omitempty"`
}

// keyValues are parameters or annotations: no key is there twice.
type keyValues []keyValue

// mostKeys is how many parameters, and how many annotations, an entity has at most.
const mostKeys = 1000

// UnmarshalJSON reads an array of {key, value}. Where a key is there twice, the
// last one counts.
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

// MarshalJSON writes an array, never null.
func (kvs keyValues) MarshalJSON() ([]byte, error) {
	if kvs == nil {
		return []byte("[]"), nil
	}
	return json.Marshal([]keyValue(kvs))
}

func (kvs keyValues) index(key string) int {
	return slices.IndexFunc(kvs, func(kv keyValue) bool { return kv.Key == key })
}

// get returns the value of key; nil where there is none.
func (kvs keyValues) get(key string) json.RawMessage {
	if i := kvs.index(key); i >= 0 {
		return kvs[i].Value
	}
	return nil
}

// is says whether the value of key is true.
func (kvs keyValues) is(key string) bool {
	return string(bytes.TrimSpace(kvs.get(key))) == "true"
}

// text is the value of key where that is a string.
func (kvs keyValues) text(key string) string {
	var s string
	if json.Unmarshal(kvs.get(key), &s) != nil {
		return ""
	}
	return s
}

// with returns kvs with one key set.
func (kvs keyValues) with(kv keyValue) keyValues {
	out := slices.Clone(kvs)
	if i := out.index(kv.Key); i >= 0 {
		out[i] = kv
		return out
	}
	return append(out, kv)
}

func (kvs keyValues) set(key string, value any) keyValues {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // only values that encode are set
	}
	return kvs.with(keyValue{Key: key, Value: raw})
}

func (kvs keyValues) without(keys ...string) keyValues {
	gone := make(map[string]bool, len(keys))
	for _, key := range keys {
		gone[key] = true
	}
	return slices.DeleteFunc(slices.Clone(kvs), func(kv keyValue) bool { return gone[kv.Key] })
}

// merged returns kvs with all of over, which wins.
func (kvs keyValues) merged(over keyValues) keyValues {
	out := make(keyValues, 0, len(kvs)+len(over))
	at := make(map[string]int, cap(out))
	for _, kv := range slices.Concat(kvs, over) {
		i, there := at[kv.Key]
		if there {
			out[i] = kv
			continue
		}
		at[kv.Key] = len(out)
		out = append(out, kv)
	}
	return out
}

func (kvs keyValues) encode() []byte {
	raw, err := kvs.MarshalJSON()
	if err != nil {
		panic(err) // what was decoded encodes
	}
	return raw
}

// size is what limits are held against: bytes of JSON.
func (kvs keyValues) size() int64 { return int64(len(kvs.encode())) }

// object is a JSON object whose values are left as they were sent.
type object map[string]json.RawMessage

// input is what an action is given: its parameters, and payload, which wins.
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

// variables are the parameters that go into the environment: strings as they are,
// everything else as JSON.
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
		// What no environment can hold (POSIX, section 8.1) is left out.
		if !strings.ContainsAny(kv.Key, "=\x00") && !strings.Contains(text, "\x00") {
			out[kv.Key] = text
		}
	}
	return out
}

// fixed says whether payload, or any of these keys, would override a parameter
// that has a value, in an action whose parameters are final.
func (kvs keyValues) fixed(keys map[string]bool) bool {
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
