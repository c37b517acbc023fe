package services

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Defaulter is a configuration or parameter struct that has defaults. The one
// constructor of such a struct is Decode.
type Defaulter interface{ SetDefaults() }

// Validator is a configuration or parameter struct with rules of its own.
// Validate returns all faults joined (errors.Join), each naming its key.
type Validator interface{ Validate() error }

// Decode makes a T of a JSON object: defaults first, then what raw says, then
// the rules. Unknown keys are errors. Empty or null raw is the empty object.
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

// readable turns the decoder's error into one that names the key and the rule
// in the user's words and never quotes a value.
func readable(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if t.Field == "" {
			return fmt.Errorf("must be an object, not a %s", t.Value)
		}
		return fmt.Errorf("%s: must be of type %s, not %s", t.Field, t.Type, strings.Fields(t.Value)[0])
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("%s: no such key", strings.Trim(name, `"`))
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return errors.New("not valid JSON")
	}
	return err
}
