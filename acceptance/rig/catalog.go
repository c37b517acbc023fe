package rig

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler"
)

// PostgresCatalog returns the shipped catalog as an operator would cut it who has
// a PostgreSQL server and no other, comments and all.
func PostgresCatalog() ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(chandler.CatalogYAML(), &document); err != nil {
		return nil, fmt.Errorf("read the shipped catalog: %w", err)
	}
	root := document.Content[0]
	if backends := member(root, "backends"); backends != nil {
		backends.Content = slices.Collect(pairs(backends, func(name string) bool { return name == "postgres" }))
	}
	services := member(root, "services")
	services.Content = slices.DeleteFunc(services.Content, func(service *yaml.Node) bool {
		plans := member(service, "plans")
		plans.Content = slices.DeleteFunc(plans.Content, func(plan *yaml.Node) bool { return member(plan, "backend").Value != "postgres" })
		return len(plans.Content) == 0
	})
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(&document); err != nil {
		return nil, fmt.Errorf("write the catalog: %w", err)
	}
	return out.Bytes(), nil
}

// pairs yields the keys and values of a mapping whose keys are wanted.
func pairs(mapping *yaml.Node, wanted func(key string) bool) func(func(*yaml.Node) bool) {
	return func(yield func(*yaml.Node) bool) {
		for i := 0; i+1 < len(mapping.Content); i += 2 {
			if wanted(mapping.Content[i].Value) && !(yield(mapping.Content[i]) && yield(mapping.Content[i+1])) {
				return
			}
		}
	}
}

func member(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}
