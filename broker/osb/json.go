package osb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 100

// checkObject returns an error unless data is one JSON object that all programs read in the
// same way (RFC 8259): UTF-8, without repeated names, with numbers that fit. Its errors
// quote no value.
func checkObject(data []byte) error {
	if !utf8.Valid(data) {
		return errors.New("it is not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil {
		return syntax(dec, err)
	}
	if first != json.Delim('{') {
		return errors.New("it must be a JSON object, not " + services.TypeNameOf(data))
	}
	if err := checkNested(dec, '{', 1); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is more after the JSON object, at byte %d", dec.InputOffset())
	}
	return nil
}

// checkNested reads an object or array after its opening bracket.
func checkNested(dec *json.Decoder, bracket json.Delim, depth int) error {
	names := map[string]bool{}
	for dec.More() {
		if bracket == '{' {
			token, err := dec.Token()
			if err != nil {
				return syntax(dec, err)
			}
			name, _ := token.(string) // the decoder accepts nothing else as a name
			if names[name] {
				return fmt.Errorf("an object has the same name twice, at byte %d", dec.InputOffset())
			}
			names[name] = true
		}
		if err := checkValue(dec, depth); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return syntax(dec, err)
}

func checkValue(dec *json.Decoder, depth int) error {
	value, err := dec.Token()
	if err != nil {
		return syntax(dec, err)
	}
	if depth > maxDepth {
		return fmt.Errorf("it nests deeper than %d levels", maxDepth)
	}
	switch v := value.(type) {
	case json.Number:
		if !services.NumberInRange(v) {
			return fmt.Errorf("the number before byte %d is out of the range of a 64-bit float", dec.InputOffset())
		}
	case json.Delim:
		return checkNested(dec, v, depth+1)
	}
	return nil
}

func syntax(dec *json.Decoder, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON ends too early")
	}
	return fmt.Errorf("it is not valid JSON, at byte %d", dec.InputOffset())
}
