package credhub

import (
	"bytes"
	"encoding/json"
	"errors"
)

// CheckValue says why value is none that a store takes: it must be one JSON
// object. The error does not quote it.
func CheckValue(value json.RawMessage) error {
	if !json.Valid(value) || bytes.TrimLeft(value, " \t\r\n")[0] != '{' {
		return errors.New("the value is not a JSON object")
	}
	return nil
}
