package services

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strings"
)

const (
	// NumberForm is the rule of NumberFits, for errors: "must be "+NumberForm.
	NumberForm    = "a 64-bit float of at most 100 characters, and no whole number beyond 9007199254740991"
	longestNumber = 100
	// largestInteger is the largest that every implementation of JSON preserves (RFC
	// 8259, section 6). Vault's KV engine rounds larger ones.
	largestInteger = 1<<53 - 1
)

// NumberFits is the one rule for JSON numbers in requests and credentials. Programs on
// their way read numbers as 64-bit floats, and the check of a schema computes exactly,
// which takes all memory for a number such as 1e999999999.
func NumberFits(n json.Number) bool {
	f, err := n.Float64()
	mantissa, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	switch {
	case err != nil || len(n) > longestNumber:
		return false
	case f == 0:
		return strings.Trim(mantissa, "-0.") == "" // otherwise a float loses the number
	}
	return strings.ContainsAny(n.String(), ".eE") || math.Abs(f) <= largestInteger
}

// CheckNumbers returns an error if a number in the JSON does not fit. The error quotes
// nothing.
func CheckNumbers(value json.RawMessage) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil { // the end of valid JSON
			return nil
		}
		if n, ok := token.(json.Number); ok && !NumberFits(n) {
			return errors.New("a number must be " + NumberForm + "; write others as text")
		}
	}
}

// SameNumber says whether two numbers have the same value: 1.0 is 1.
func SameNumber(a, b json.Number) bool {
	if a == b || !NumberFits(a) || !NumberFits(b) {
		return a == b
	}
	x, _ := a.Float64()
	y, _ := b.Float64()
	return x == y
}
