package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chandler-broker/chandler/services"
)

// mostComplaints is how many faults an answer lists.
const mostComplaints = 20

// check returns all faults of the parameters as one error, in the user's words.
func (s *parameterSchema) check(params json.RawMessage) error {
	if params = bytes.TrimSpace(params); len(params) == 0 || string(params) == "null" {
		params = []byte("{}")
	}
	value, err := decodeParameters(params)
	if err != nil {
		return err
	}
	if s == nil {
		return complain(unknown("parameters", slices.Collect(maps.Keys(value)), nil))
	}
	err = s.compiled.Validate(value)
	if err == nil {
		return nil
	}
	invalid, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return errors.New("parameters: do not fit the plan's schema")
	}
	r := renderer{schema: s.document, value: value}
	return complain(r.render(invalid))
}

// complain makes one error of all complaints, if there are any.
func complain(complaints []string) error {
	if len(complaints) == 0 {
		return nil
	}
	slices.Sort(complaints)
	return errors.New(shorten(slices.Compact(complaints)))
}

func shorten(complaints []string) string {
	more := ""
	if n := len(complaints); n > mostComplaints {
		complaints, more = complaints[:mostComplaints], fmt.Sprintf("; and %d more", n-mostComplaints)
	}
	return strings.Join(complaints, "; ") + more
}

func decodeParameters(params json.RawMessage) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(params))
	dec.UseNumber()
	var value any
	if err := dec.Decode(&value); err != nil {
		return nil, errors.New("parameters: not valid JSON")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parameters: there is more than one JSON value")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("parameters: must be an object, not %s", services.TypeNameOf(params))
	}
	if err := services.CheckNumbers("parameters", params); err != nil {
		return nil, err
	}
	return object, nil
}
