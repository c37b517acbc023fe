package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/chandler-broker/chandler/services"
)

const (
	// draft4 is the one dialect that every platform accepts.
	draft4 = "http://json-schema.org/draft-04/schema#"
	// longestSchema is the specification's 64 kB (OSB 2.17, "Schemas Object").
	longestSchema = 64 * 1024

	schemaAddress = "schema:///parameters"
)

// schemas are those of a plan's parameters, the same for all plans of a backend; nil: no
// parameters are accepted.
type schemas struct {
	Instance struct {
		Create *parameterSchema `json:"create,omitempty"`
		Update *parameterSchema `json:"update,omitempty"`
	} `json:"service_instance,omitzero"`
	Binding struct {
		Create *parameterSchema `json:"create,omitempty"`
	} `json:"service_binding,omitzero"`
}

// parameterSchema checks the parameters of one verb.
type parameterSchema struct {
	Parameters json.RawMessage `json:"parameters"`
	document   any             // Parameters, decoded
	compiled   *jsonschema.Schema
}

// compileSchemas compiles a backend's schemas. A fault in one is the backend's; it is
// reported where the file asks for the backend.
func (c *checker) compileSchemas(n *node, def services.Definition) {
	if _, done := c.schemas[def.Name]; done {
		return
	}
	var set schemas
	for _, s := range []struct {
		name   string
		source []byte
		into   **parameterSchema
	}{
		{"service_instance.create", def.Schemas.InstanceCreate, &set.Instance.Create},
		{"service_instance.update", def.Schemas.InstanceUpdate, &set.Instance.Update},
		{"service_binding.create", def.Schemas.BindingCreate, &set.Binding.Create},
	} {
		if s.source == nil {
			continue
		}
		compiled, err := compileSchema(s.source)
		if err != nil {
			c.add(n.line, n.path, "the schema %s of the backend %s: %s; correct it in the backend's folder",
				s.name, def.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
			continue
		}
		*s.into = compiled
	}
	c.schemas[def.Name] = set
}

// compileSchema checks a schema as strictly as the strictest platform does (OSB
// 2.17, "Input Parameters Schema Object").
func compileSchema(source []byte) (*parameterSchema, error) {
	var compact bytes.Buffer
	if err := json.Compact(&compact, source); err != nil {
		return nil, fmt.Errorf("it is not valid JSON: %w", err)
	}
	if compact.Len() > longestSchema {
		return nil, fmt.Errorf("it has %d bytes; a schema has %d at most", compact.Len(), longestSchema)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(compact.Bytes()))
	if err != nil {
		return nil, fmt.Errorf("it is not valid JSON: %w", err)
	}
	top, ok := document.(map[string]any)
	if !ok || top["$schema"] != draft4 {
		return nil, fmt.Errorf("it must be an object with $schema %q", draft4)
	}
	if ref, ok := externalReference(document); ok {
		return nil, fmt.Errorf("the $ref %s leaves the schema; only references beginning with # work", quote(ref))
	}
	compiler := jsonschema.NewCompiler()
	compiler.DefaultDraft(jsonschema.Draft4)
	compiler.UseLoader(noLoader{})
	if err := compiler.AddResource(schemaAddress, document); err != nil {
		return nil, err
	}
	compiled, err := compiler.Compile(schemaAddress)
	if err != nil {
		return nil, err
	}
	return &parameterSchema{Parameters: compact.Bytes(), document: document, compiled: compiled}, nil
}

// externalReference returns a $ref that points outside the schema.
func externalReference(value any) (string, bool) {
	switch v := value.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok && !strings.HasPrefix(ref, "#") {
			return ref, true
		}
		for _, member := range v {
			if ref, ok := externalReference(member); ok {
				return ref, true
			}
		}
	case []any:
		for _, item := range v {
			if ref, ok := externalReference(item); ok {
				return ref, true
			}
		}
	}
	return "", false
}

// noLoader keeps the compiler from reading files or the network.
type noLoader struct{}

func (noLoader) Load(string) (any, error) {
	return nil, errors.New("a schema must not refer to anything outside itself")
}
