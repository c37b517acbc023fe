package servicetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chandler-broker/chandler/services"
)

const draft04 = "http://json-schema.org/draft-04/schema#"

// testSchemas checks the schemas themselves.
func testSchemas(t *testing.T, h *harness) {
	instance, binding := h.Definition.Parameters()
	schemas := h.Definition.Schemas
	for _, test := range []struct {
		name string
		text []byte
		keys []string
	}{
		{"instance create", schemas.InstanceCreate, instance},
		{"instance update", schemas.InstanceUpdate, instance},
		{"binding create", schemas.BindingCreate, binding},
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

// compiled returns a schema that is valid according to draft-04.
func compiled(t *testing.T, text []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("not JSON: %v", err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatalf("not a valid schema: %v", err)
	}
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
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if schema.Schema != draft04 {
		t.Errorf("$schema: %q, want %q", schema.Schema, draft04)
	}
	if schema.Type != "object" || schema.Additional == nil || *schema.Additional {
		t.Error(`must have "type": "object" and "additionalProperties": false`)
	}
	var properties []string
	for name, p := range schema.Properties {
		properties = append(properties, name)
		if p.Description == "" {
			t.Errorf("property %s has no description", name)
		}
	}
	slices.Sort(properties)
	keys = slices.Sorted(slices.Values(keys))
	if diff := cmp.Diff(keys, properties); diff != "" {
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
				if err := accept(t, schema, kind.check, params); err != nil {
					t.Errorf("%s: %v", params, err)
				}
			})
		}
		for name, params := range merged(kind.invalid) {
			t.Run(kind.name+" "+name, func(t *testing.T) {
				if accept(t, schema, kind.check, params) == nil {
					t.Errorf("%s was accepted", params)
				}
				if err := kind.check(params); err != nil {
					if _, rejected := services.IsRejected(err); !rejected {
						t.Errorf("%s: not reported as the user's error: %v", params, err)
					}
				}
			})
		}
	}
}

// testRepeated updates instances with the parameters that they were created with.
// Declarative clients always send all of them, even to change the plan.
func testRepeated(t *testing.T, h *harness) {
	plans := map[string]json.RawMessage{"the same plan": h.Plan}
	if h.OtherPlan != nil {
		plans["the other plan"] = h.OtherPlan
	}
	for i, params := range h.Create {
		for name, plan := range plans {
			t.Run(fmt.Sprintf("create %d with %s", i, name), func(t *testing.T) {
				prev := h.driver.Instance("id", h.Plan, params)
				next := h.driver.Instance("id", plan, params)
				check := func(json.RawMessage) error {
					return errors.Join(h.driver.CheckUpdate(prev, next), h.driver.CheckInstance(next))
				}
				if err := accept(t, h.updateSchema(t), check, params); err != nil {
					t.Errorf("%s: %v", params, err)
				}
			})
		}
	}
}

// updateSchema returns the backend's schema for updates, or the broker's default.
func (h *harness) updateSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	if text := h.Definition.Schemas.InstanceUpdate; text != nil {
		return compiled(t, text)
	}
	return compiled(t, []byte(`{"type": "object", "additionalProperties": false}`))
}

func (h *harness) readOnly() []json.RawMessage {
	if h.ReadOnly == nil {
		return nil
	}
	return []json.RawMessage{h.ReadOnly}
}

// merged adds an unknown parameter.
func merged(invalid map[string]json.RawMessage) map[string]json.RawMessage {
	all := map[string]json.RawMessage{
		"an unknown key": json.RawMessage(`{"no_backend_knows_this": 1}`),
		"an array":       json.RawMessage(`[]`),
		"a string":       json.RawMessage(`"x"`),
	}
	for name, params := range invalid {
		all[name] = params
	}
	return all
}

// accept checks parameters like the broker before an operation.
func accept(t *testing.T, schema *jsonschema.Schema, check func(json.RawMessage) error, params json.RawMessage) error {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(params))
	if err != nil {
		t.Fatalf("%s: %v", params, err)
	}
	if err := schema.Validate(document); err != nil {
		return err
	}
	return check(params)
}
