package servicetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chandler-broker/chandler/services"
)

const draft04 = "http://json-schema.org/draft-04/schema#"

// testSchemas checks the schemas themselves.
func testSchemas(t *testing.T, h *harness) {
	schemas, types := h.Definition.Schemas, h.Definition.Types
	for _, test := range []struct {
		name string
		text []byte
		keys []string
	}{
		{"instance create", schemas.InstanceCreate, h.kept(services.Keys(types.Instance))},
		{"instance update", schemas.InstanceUpdate, services.Keys(types.Instance)},
		{"binding create", schemas.BindingCreate, services.Keys(types.Binding)},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.text == nil && len(test.keys) == 0 && test.name == "instance update" {
				t.Skip("the backend has no parameters")
			}
			compiled(t, test.text)
			checkSchema(t, test.text, test.keys)
		})
	}
}

// kept returns the parameters of an instance without actions.
func (h *harness) kept(keys []string) []string {
	return slices.DeleteFunc(keys, func(key string) bool { return slices.Contains(h.Definition.Schemas.Actions, key) })
}

// compiled returns a schema that is valid according to draft-04.
func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	succeeds(t, "decode the schema", err)
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	succeeds(t, "add the schema", compiler.AddResource("schema.json", document))
	schema, err := compiler.Compile("schema.json")
	succeeds(t, "compile the schema", err)
	return schema
}

// checkSchema checks a schema against the broker's requirements and the struct.
func checkSchema(t *testing.T, text []byte, keys []string) {
	t.Helper()
	var schema struct {
		Schema     string `json:"$schema"`
		Type       string
		Additional *bool `json:"additionalProperties"`
		Properties map[string]struct{ Description string }
	}
	succeeds(t, "decode the schema", json.Unmarshal(text, &schema))
	if schema.Schema != draft04 {
		t.Errorf("$schema: %q, want %q", schema.Schema, draft04)
	}
	if schema.Type != "object" || schema.Additional == nil || *schema.Additional {
		t.Error(`must have "type": "object" and "additionalProperties": false`)
	}
	for name, p := range schema.Properties {
		if p.Description == "" {
			t.Errorf("property %s has no description", name)
		}
	}
	properties := slices.Sorted(maps.Keys(schema.Properties))
	if diff := cmp.Diff(slices.Sorted(slices.Values(keys)), properties); diff != "" {
		t.Errorf("the properties differ from the struct's keys (-struct +schema):\n%s", diff)
	}
}

// testParameters checks that valid parameters are accepted, and that a schema or the
// backend refuses invalid ones before an operation begins.
func testParameters(t *testing.T, h *harness) {
	schemas := h.Definition.Schemas
	raw := func(params json.RawMessage) services.RawInstance {
		return h.driver.Instance("id", h.Plan, params)
	}
	create := func(p json.RawMessage) error { return h.driver.CheckInstance(raw(p)) }
	update := func(p json.RawMessage) error {
		return errors.Join(h.driver.CheckUpdate(raw(h.Create[0]), raw(p)), h.driver.CheckInstance(raw(p)))
	}
	for _, kind := range []struct {
		name    string
		schema  []byte
		check   func(json.RawMessage) error
		valid   []json.RawMessage
		invalid map[string]json.RawMessage
	}{
		{"create", schemas.InstanceCreate, create, h.Create, h.Invalid.Create},
		{"update", schemas.InstanceUpdate, update, h.Update, h.Invalid.Update},
		{"bind", schemas.BindingCreate, h.driver.CheckBinding, slices.Concat(h.Bind, h.BindSame, h.readOnly()), h.Invalid.Bind},
	} {
		if kind.schema == nil {
			continue
		}
		schema := compiled(t, kind.schema)
		for i, params := range kind.valid {
			t.Run(fmt.Sprintf("%s valid %d", kind.name, i), func(t *testing.T) {
				succeeds(t, string(params), accept(t, schema, kind.check, params))
			})
		}
		invalid := map[string]json.RawMessage{
			"an unknown key": json.RawMessage(`{"no_backend_knows_this": 1}`),
			"an array":       json.RawMessage(`[]`),
			"a string":       json.RawMessage(`"x"`),
		}
		maps.Copy(invalid, kind.invalid)
		for name, params := range invalid {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				if accept(t, schema, kind.check, params) == nil {
					t.Errorf("%s was accepted", params)
				}
				rejectedAtMost(t, params, kind.check(params))
			})
		}
	}
}

// testRepeated updates instances with the parameters that they were created with.
// Declarative clients always send all of them, even to change the plan.
func testRepeated(t *testing.T, h *harness) {
	schema := h.Definition.Schemas.InstanceUpdate
	if schema == nil { // the broker's default
		schema = []byte(`{"type": "object", "additionalProperties": false}`)
	}
	for i, params := range h.Create {
		for name, plan := range map[string]json.RawMessage{"the same plan": h.Plan, "the other plan": h.OtherPlan} {
			if plan == nil {
				continue
			}
			t.Run(fmt.Sprintf("create %d with %s", i, name), func(t *testing.T) {
				next := h.driver.Instance("id", plan, params)
				check := func(json.RawMessage) error {
					return errors.Join(h.driver.CheckUpdate(h.driver.Instance("id", h.Plan, params), next), h.driver.CheckInstance(next))
				}
				succeeds(t, string(params), accept(t, compiled(t, schema), check, params))
			})
		}
	}
}

func (h *harness) readOnly() []json.RawMessage {
	if h.ReadOnly == nil {
		return nil
	}
	return []json.RawMessage{h.ReadOnly}
}

// accept checks parameters like the broker before an operation.
func accept(t *testing.T, schema *jsonschema.Schema, check func(json.RawMessage) error, params json.RawMessage) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(params))
	succeeds(t, string(params), err)
	if err := schema.Validate(document); err != nil {
		return err
	}
	return check(params)
}
