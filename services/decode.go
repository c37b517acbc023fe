package services

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// Defaulter is a configuration or parameter struct that has defaults. Only Decode makes
// one.
type Defaulter interface{ SetDefaults() }

// Validator is a configuration or parameter struct with rules of its own.
// Validate returns all faults joined (errors.Join), each naming its key.
type Validator interface{ Validate() error }

// Decode makes a T of a JSON object: it sets the defaults, decodes raw and validates.
// Unknown keys are errors. Empty or null raw is the empty object.
func Decode[T any](raw json.RawMessage) (T, error) {
	var t T
	if d, ok := any(&t).(Defaulter); ok {
		d.SetDefaults()
	}
	if trimmed := bytes.TrimSpace(raw); len(trimmed) > 0 && !bytes.Equal(trimmed, []byte("null")) {
		dec := json.NewDecoder(bytes.NewReader(trimmed))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&t); err != nil {
			return t, readable(err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			return t, errors.New("there is more than one JSON value")
		}
	}
	if v, ok := any(&t).(Validator); ok {
		return t, v.Validate()
	}
	return t, nil
}

// readable turns the decoder's error into one that names the key and the rule in the
// user's words, and quotes no value.
func readable(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			return fmt.Errorf("must be an object, not %s", TypeName(t.Value))
		}
		got, want := strings.Fields(t.Value)[0], wanted(t.Type)
		if got == "number" && strings.Contains(want, "number") { // it does not fit
			return fmt.Errorf("%s: must be %s", t.Field, want)
		}
		return fmt.Errorf("%s: must be %s, not %s", t.Field, want, TypeName(got))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("%s: no such key", strings.Trim(name, `"`))
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not valid JSON")
	}
	return err
}

// wanted describes what decodes into a type, for people who do not know Go.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return fmt.Sprintf("a whole number of at most %d", 1<<(t.Bits()-1)-1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	default:
		return "an object"
	}
}

// TypeName names a JSON type for people, such as "an array". jsonType is its name in a
// schema or in package encoding/json.
func TypeName(jsonType string) string {
	switch jsonType {
	case "array", "object", "integer":
		return "an " + jsonType
	case "bool":
		return "a boolean"
	case "null":
		return jsonType
	}
	return "a " + jsonType
}

// TypeNameOf names the type of a JSON value.
func TypeNameOf(value json.RawMessage) string {
	value = bytes.TrimSpace(value)
	if len(value) == 0 {
		return "nothing"
	}
	names := map[byte]string{'{': "object", '[': "array", '"': "string", 't': "boolean", 'f': "boolean", 'n': "null"}
	return TypeName(cmp.Or(names[value[0]], "number"))
}
