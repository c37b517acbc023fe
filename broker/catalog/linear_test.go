package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/services/servicetest/linear"
)

// What a plan's schema says of parameters takes time that grows no faster than they do.
func TestCheckIsLinear(t *testing.T) {
	schema, err := compileSchema([]byte(`{
		"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "additionalProperties": false,
		"properties": {
			"names": {"type": "array", "uniqueItems": true, "maxItems": 10, "items": {"type": "string", "pattern": "^(([a-z]+|\\*)\\.)*([a-z]+|>)$", "maxLength": 63}},
			"records": {"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["name", "type"], "properties": {
				"name": {"type": "string"}, "type": {"enum": ["A", "AAAA"]}, "ttl": {"type": "integer", "minimum": 1, "maximum": 10}}}},
			"labels": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}},
			"either": {"oneOf": [{"type": "object", "required": ["a"]}, {"type": "array", "items": {"type": "string"}}]}
		}
	}`))
	if err != nil {
		t.Fatal(err)
	}
	many := func(n int, item func(i int) string) string {
		parts := make([]string, n)
		for i := range parts {
			parts[i] = item(i)
		}
		return strings.Join(parts, ",")
	}
	for name, test := range map[string]struct {
		n    int
		make func(n int) string
	}{
		"items that differ": {40, func(n int) string {
			return `{"names":[` + many(n, func(i int) string { return fmt.Sprintf("%q", fmt.Sprint("n", i)) }) + `]}`
		}},
		"items that are equal":       {40, func(n int) string { return `{"names":[` + many(n, func(int) string { return `"n"` }) + `]}` }},
		"numbers instead of strings": {40, func(n int) string { return `{"names":[` + many(n, func(i int) string { return fmt.Sprint(i) }) + `]}` }},
		"numbers of the same value": {40, func(n int) string {
			return `{"names":[` + many(n, func(i int) string { return "1." + strings.Repeat("0", 1+i%90) }) + `]}`
		}},
		"large numbers": {20, func(n int) string {
			return `{"names":[` + many(n, func(i int) string { return fmt.Sprint(i, "e308") }) + `]}`
		}},
		"objects instead of strings": {20, func(n int) string {
			return `{"names":[` + many(n, func(i int) string { return fmt.Sprintf(`{"a":{"b":%d}}`, i) }) + `]}`
		}},
		"a long string": {1000, func(n int) string { return `{"names":["` + strings.Repeat("a.", n) + `*"]}` }},
		"unknown parameters": {20, func(n int) string {
			return `{` + many(n, func(i int) string { return fmt.Sprintf(`"u%d":1`, i) }) + `}`
		}},
		"wrong records": {20, func(n int) string {
			return `{"records":[` + many(n, func(int) string { return `{"type":"B","ttl":0,"x":1}` }) + `]}`
		}},
		"a long name of much": {300, func(n int) string {
			return `{"labels":{"` + strings.Repeat("n", n) + `":[` + many(n, func(int) string { return "1" }) + `]}}`
		}},
		"a long unknown name of much": {300, func(n int) string {
			return `{"` + strings.Repeat("n", n) + `":[` + many(n, func(int) string { return "1" }) + `]}`
		}},
		"a long unknown name of objects": {100, func(n int) string {
			return `{"` + strings.Repeat("é", n) + `":{` + many(n, func(i int) string { return fmt.Sprintf(`"%d":[1]`, i) }) + `}}`
		}},
		"a choice": {40, func(n int) string { return `{"either":[` + many(n, func(int) string { return "1" }) + `]}` }},
	} {
		t.Run(name, func(t *testing.T) {
			linear.Check(t, test.n, func(n int) func() {
				parameters := json.RawMessage(test.make(n))
				return func() {
					if err := schema.check(parameters); err == nil {
						t.Fatal("no complaint")
					}
				}
			})
		})
	}
}
