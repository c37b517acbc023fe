package catalog_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

func TestSchemas(t *testing.T) {
	const draft4 = `"$schema": "http://json-schema.org/draft-04/schema#"`
	tests := []struct{ name, schema, want string }{
		{"fits", `{` + draft4 + `, "definitions": {"a": {}}, "properties": {"x": {"$ref": "#/definitions/a"}}}`, ""},
		{"a property called $ref", `{` + draft4 + `, "properties": {"$ref": {"type": "string"}}}`, ""},
		{"not JSON", `{`, "it is not valid JSON: unexpected end of JSON input"},
		{"empty", ``, "it is not valid JSON: unexpected end of JSON input"},
		{"no object", `[]`, `it must be an object with $schema "http://json-schema.org/draft-04/schema#"`},
		{"no dialect", `{}`, `it must be an object with $schema "http://json-schema.org/draft-04/schema#"`},
		{"another dialect", `{"$schema": "http://json-schema.org/draft-07/schema#"}`,
			`it must be an object with $schema "http://json-schema.org/draft-04/schema#"`},
		{"reference to the network", `{` + draft4 + `, "properties": {"x": {"$ref": "http://127.0.0.1:1/x"}}}`,
			`the $ref "http://127.0.0.1:1/x" leaves the schema; only references beginning with # work`},
		{"reference to a file", `{` + draft4 + `, "items": [{"$ref": "file:///etc/passwd"}]}`,
			`the $ref "file:///etc/passwd" leaves the schema; only references beginning with # work`},
		{"reference to nothing", `{` + draft4 + `, "properties": {"x": {"$ref": "#/definitions/a"}}}`,
			`"schema:///parameters#/definitions/a"`},
		{"not a schema", `{` + draft4 + `, "type": "text"}`, `"schema:///parameters#" is not valid against metaschema`},
		{"bad pattern", `{` + draft4 + `, "pattern": "("}`, `is not valid regex`},
		{"too large", `{` + draft4 + `, "title": "` + strings.Repeat("x", 64*1024) + `"}`,
			`it has 65600 bytes; a schema has 65536 at most`},
		{"large for its spaces only", `{` + draft4 + strings.Repeat(" ", 64*1024) + `}`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			def := define("database/fake", services.Schemas{BindingCreate: []byte(test.schema)})
			_, err := catalog.Parse("catalog.yml", []byte("services: []\nbackends:\n  a:\n    type: database/fake\n    config: {url: x}\n"),
				[]services.Definition{def}, environment)
			if test.want == "" {
				if err != nil {
					t.Errorf("the schema is refused: %s", err)
				}
				return
			}
			const start = "catalog.yml:3: backends.a: the schema service_binding.create of the backend database/fake: "
			if got := text(err); !strings.HasPrefix(got, start) || !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("error (-want +got):\n%s", cmp.Diff(start+test.want, got))
			}
		})
	}
}
