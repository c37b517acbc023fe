package services

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
)

const (
	// NumberForm is the rule of NumberFits, for errors: "must be "+NumberForm.
	NumberForm    = "a 64-bit float of at most 100 characters; whole numbers beyond 9007199254740991 need a point or an exponent"
	longestNumber = 100
	// largestInteger is the largest that every implementation of JSON preserves (RFC
	// 8259, section 6). Vault's KV engine rounds larger ones.
	largestInteger = 1<<53 - 1
)

// NumberInRange is the rule for all JSON numbers in requests: they are within the range of
// a 64-bit float. Exact arithmetic, which schemas need, takes all memory for a number such
// as 1e999999999.
func NumberInRange(n json.Number) bool {
	f, err := n.Float64()
	mantissa, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	lost := f == 0 && strings.Trim(mantissa, "-0.") != "" // too small for a float
	return err == nil && !lost
}

// NumberFits is the rule for JSON numbers in parameters and credentials: programs on their
// way read numbers as 64-bit floats.
func NumberFits(n json.Number) bool {
	if len(n) > longestNumber || !NumberInRange(n) {
		return false
	}
	f, _ := n.Float64()
	return strings.ContainsAny(n.String(), ".eE") || math.Abs(f) <= largestInteger
}

// CheckNumbers returns an error if a number in the JSON does not fit. The error names the
// number's place below path and does not quote it.
func CheckNumbers(path string, value json.RawMessage) error {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var decoded any
	if decoder.Decode(&decoded) != nil {
		return nil // others check that it is valid
	}
	if place, found := misfit(decoded); found {
		return fmt.Errorf("%s%s: a number must be %s; write others as text", path, place, NumberForm)
	}
	return nil
}

// misfit returns the place of the first number that does not fit.
func misfit(value any) (place string, found bool) {
	switch v := value.(type) {
	case json.Number:
		return "", !NumberFits(v)
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if place, found := misfit(v[key]); found {
				return "." + key + place, true
			}
		}
	case []any:
		for i, item := range v {
			if place, found := misfit(item); found {
				return fmt.Sprintf("[%d]%s", i, place), true
			}
		}
	}
	return "", false
}

// SameNumber says whether two numbers have the same value: 1.0 is 1. Numbers that are too
// long or large to compare are the same if their text is.
func SameNumber(a, b json.Number) bool {
	if a == b || max(len(a), len(b)) > longestNumber || !NumberInRange(a) || !NumberInRange(b) {
		return a == b
	}
	x, okX := new(big.Rat).SetString(a.String())
	y, okY := new(big.Rat).SetString(b.String())
	return okX && okY && x.Cmp(y) == 0
}
