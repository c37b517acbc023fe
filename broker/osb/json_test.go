package osb

import (
	"strings"
	"testing"
)

func TestCheckObject(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"empty object", `{}`, ""},
		{"white space around", " \n{\"a\": 1}\t\n", ""},
		{"every type", `{"a":[1,-2.5e3,true,false,null,"x",{"b":{}}]}`, ""},
		{"same name in different objects", `{"a":{"b":1},"c":{"b":1}}`, ""},
		{"names that differ in case", `{"a":1,"A":1}`, ""},
		{"as deep as may be", strings.Repeat(`{"a":`, 99) + `{}` + strings.Repeat(`}`, 99), ""},
		{"zeros", `{"a":[0,-0,0.000,0e99999]}`, ""},
		{"surrogate halves", `{"a":"\ud800"}`, ""},

		{"nothing", ``, "the JSON ends too early"},
		{"white space", ` `, "the JSON ends too early"},
		{"array", `[]`, "it must be a JSON object, not an array"},
		{"string", `"x"`, "it must be a JSON object, not a string"},
		{"null", `null`, "it must be a JSON object, not null"},
		{"number", ` 7`, "it must be a JSON object, not a number"},
		{"boolean", `true`, "it must be a JSON object, not a boolean"},
		{"cut off", `{"a":`, "the JSON ends too early"},
		{"not closed", `{"a":1`, "the JSON ends too early"},
		{"no colon", `{"a" 1}`, "it is not valid JSON, at byte 5"},
		{"trailing comma", `{"a":1,}`, "it is not valid JSON, at byte 7"},
		{"wrong bracket", `{"a":[1}`, "it is not valid JSON, at byte 7"},
		{"unquoted name", `{a:1}`, "it is not valid JSON, at byte 1"},
		{"trailing value", `{} {}`, "there is more after the JSON object, at byte 4"},
		{"trailing garbage", `{}x`, "there is more after the JSON object, at byte 2"},
		{"trailing brace", `{}}`, "there is more after the JSON object, at byte 2"},
		{"same name twice", `{"a":1,"a":1}`, "an object has the same name twice, at byte 10"},
		{"same name twice, escaped", `{"a":1,"\u0061":1}`, "an object has the same name twice, at byte 15"},
		{"same name twice, inside", `{"p":[{"a":1,"a":2}]}`, "an object has the same name twice, at byte 16"},
		{"not UTF-8", "{\"a\":\"\xff\"}", "it is not UTF-8"},
		{"too deep", strings.Repeat(`{"a":`, 101) + `1` + strings.Repeat(`}`, 101), "it nests deeper than 100 levels"},
		{"too deep and not closed", strings.Repeat(`{"a":[`, 1000), "it nests deeper than 100 levels"},
		{"number too large", `{"a":1e309}`, "the number before byte 10 is out of the range of a 64-bit float"},
		{"number absurdly large", `{"a":1e999999999}`, "the number before byte 16 is out of the range of a 64-bit float"},
		{"number absurdly small", `{"a":-1e-999999999}`, "the number before byte 18 is out of the range of a 64-bit float"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			if err := checkObject([]byte(c.data)); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("checkObject: %q, want %q", got, c.want)
			}
		})
	}
}

func TestFieldsNameEveryFault(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"all well", `{"service_id":"s","parameters":{},"bind_resource":{"app_guid":"a"}}`, ""},
		{"null is absent", `{"service_id":"s","parameters":null,"bind_resource":null,"plan_id":null}`, ""},
		{"missing", `{}`, "service_id: is required"},
		{"required and null", `{"service_id":null}`, "service_id: is required"},
		{"required and empty", `{"service_id":""}`, "service_id: is required"},
		{"names have one case", `{"Service_ID":"s"}`, "service_id: is required"},
		{
			"wrong types", `{"service_id":1,"plan_id":["p"],"parameters":[],"bind_resource":"app"}`,
			"service_id: must be a string, not a number; plan_id: must be a string, not an array; " +
				"parameters: must be an object, not an array; bind_resource: must be an object, not a string",
		},
		{"inside", `{"service_id":"s","bind_resource":{"app_guid":{}}}`, "bind_resource.app_guid: must be a string, not an object"},
		{"NUL", `{"service_id":"\u0000"}`, "service_id: must not contain a NUL character"},
		{"long", `{"service_id":"` + strings.Repeat("é", 256) + `"}`, "service_id: has more than 255 characters"},
		{"just not long", `{"service_id":"` + strings.Repeat("é", 255) + `"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFields([]byte(c.body))
			f.requiredID("service_id")
			f.id("plan_id")
			f.object("parameters")
			inner, _ := f.within("bind_resource")
			inner.id("app_guid")
			var got string
			if err := f.err(); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("faults: %q, want %q", got, c.want)
			}
		})
	}
}
