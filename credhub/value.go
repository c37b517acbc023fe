package credhub

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/chandler-broker/chandler/services"
)

// CheckValue returns an error unless a store accepts the value: one JSON object, with
// numbers that survive being 64-bit floats on their way. The error does not quote the
// value.
func CheckValue(value json.RawMessage) error {
	if !json.Valid(value) || bytes.TrimLeft(value, " \t\r\n")[0] != '{' {
		return errors.New("the value is not a JSON object")
	}
	return services.CheckNumbers(value)
}
