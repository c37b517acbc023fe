package osb

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
)

// maxDepth is how deep arrays and objects may nest.
const maxDepth = 100

// checkObject says why data is not one JSON object that everything behind the
// wire reads the same way (RFC 8259): text in UTF-8, no name twice in an object,
// no number that a 64-bit float cannot hold. Its errors quote no value.
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
	if err := checkMembers(dec, 1); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("there is more after the JSON object, at byte %d", dec.InputOffset())
	}
	return nil
}

// checkMembers reads an object behind its opening brace.
func checkMembers(dec *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return syntax(dec, err)
		}
		key, _ := name.(string) // the decoder lets nothing else be a name
		if seen[key] {
			return fmt.Errorf("an object holds the same name twice, at byte %d", dec.InputOffset())
		}
		seen[key] = true
		if err := checkValue(dec, depth); err != nil {
			return err
		}
	}
	_, err := dec.Token()
	return syntax(dec, err)
}

func checkElements(dec *json.Decoder, depth int) error {
	for dec.More() {
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
		return checkNumber(v, dec.InputOffset())
	case json.Delim:
		if v == '{' {
			return checkMembers(dec, depth+1)
		}
		return checkElements(dec, depth+1)
	}
	return nil
}

// checkNumber keeps out numbers such as 1e999999999: exact arithmetic on them,
// which schemas need, would take all memory.
func checkNumber(n json.Number, offset int64) error {
	f, err := strconv.ParseFloat(n.String(), 64)
	if err != nil || f == 0 && !isZero(n.String()) {
		return fmt.Errorf("the number before byte %d is out of the range of a 64-bit float", offset)
	}
	return nil
}

// isZero says whether a number's literal is zero, and not merely so small that
// a float makes it zero.
func isZero(literal string) bool {
	for _, c := range literal {
		switch {
		case c == 'e' || c == 'E':
			return true
		case c >= '1' && c <= '9':
			return false
		}
	}
	return true
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
