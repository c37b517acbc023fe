package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chandler-broker/chandler/services"
)

const (
	// mostComplaints is how many faults an answer lists.
	mostComplaints = 20
	// Numbers beyond these bounds are no settings, and cost a lot to compare.
	longestNumber   = 100
	largestExponent = 308
)

// check returns all that is wrong with the parameters as one error, in the
// user's words, and nil where nothing is.
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

// complain makes one error of all complaints; nil of none.
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
	return object, checkNumbers("parameters", value)
}

// checkNumbers refuses numbers that would take the validator, which reckons
// exactly, a long time.
func checkNumbers(path string, value any) error {
	switch v := value.(type) {
	case json.Number:
		if !modest(v.String()) {
			return fmt.Errorf("%s: the number is too large or too long", path)
		}
	case map[string]any:
		for key, member := range v {
			if err := checkNumbers(under(path, key), member); err != nil {
				return err
			}
		}
	case []any:
		for i, item := range v {
			if err := checkNumbers(at(path, i), item); err != nil {
				return err
			}
		}
	}
	return nil
}

func modest(number string) bool {
	_, exponent, has := strings.Cut(strings.ToLower(number), "e")
	if len(number) > longestNumber || !has {
		return len(number) <= longestNumber
	}
	e, err := strconv.Atoi(exponent)
	return err == nil && e >= -largestExponent && e <= largestExponent
}
