package rig

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler"
)

// PostgresCatalog returns the shipped catalog as an operator would cut it who has
// a PostgreSQL server and no other.
func PostgresCatalog() ([]byte, error) {
	var catalog struct {
		Backends map[string]any   `yaml:"backends"`
		Services []map[string]any `yaml:"services"`
	}
	if err := yaml.Unmarshal(chandler.CatalogYAML(), &catalog); err != nil {
		return nil, fmt.Errorf("read the shipped catalog: %w", err)
	}
	catalog.Backends = map[string]any{"postgres": catalog.Backends["postgres"]}
	catalog.Services = slices.DeleteFunc(catalog.Services, func(service map[string]any) bool {
		plans, _ := service["plans"].([]any)
		plans = slices.DeleteFunc(plans, func(plan any) bool {
			p, ok := plan.(map[string]any)
			return !ok || p["backend"] != "postgres"
		})
		service["plans"] = plans
		return len(plans) == 0
	})
	return yaml.Marshal(catalog)
}
