package credhub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// maxInteger is the largest integer that every implementation of JSON keeps
// (RFC 8259, section 6). Vault's KV engine rounds larger ones.
const maxInteger = 1<<53 - 1

// CheckValue says why value is none that a store takes: it must be one JSON
// object, with numbers that survive being a float64 on their way. The error
// does not quote the value.
func CheckValue(value json.RawMessage) error {
	if !json.Valid(value) || bytes.TrimLeft(value, " \t\r\n")[0] != '{' {
		return errors.New("the value is not a JSON object")
	}
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil { // the end: the value is valid
			return nil
		}
		if number, ok := token.(json.Number); ok && !survives(number) {
			return fmt.Errorf("the value holds a number beyond %d, which a store may round: write it as text", int64(maxInteger))
		}
	}
}

func survives(number json.Number) bool {
	f, err := number.Float64()
	whole := !strings.ContainsAny(number.String(), ".eE")
	return err == nil && (!whole || math.Abs(f) <= maxInteger)
}
