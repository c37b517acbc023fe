package rig

import (
	"bytes"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

// ShippedCatalog returns the shipped catalog as an operator would cut it who has
// servers for these backends and no others, comments and all.
func ShippedCatalog(backends ...string) ([]byte, error) {
	text, err := all.Catalog()
	if err != nil {
		return nil, err
	}
	return CutCatalog(text, backends...)
}

// CutCatalog is ShippedCatalog for any catalog.
func CutCatalog(text []byte, backends ...string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	root := document.Content[0]
	if there := member(root, "backends"); there != nil {
		there.Content = slices.Collect(pairs(there, func(name string) bool { return slices.Contains(backends, name) }))
	}
	services := member(root, "services")
	services.Content = slices.DeleteFunc(services.Content, func(service *yaml.Node) bool {
		plans := member(service, "plans")
		plans.Content = slices.DeleteFunc(plans.Content, func(plan *yaml.Node) bool {
			return !slices.Contains(backends, member(plan, "backend").Value)
		})
		return len(plans.Content) == 0
	})
	return encoded(&document)
}

// SecondPlan is a plan to be added to a catalog: like another one, but for its
// name, its id and what config says.
type SecondPlan struct {
	Of, ID, Name string
	Config       map[string]string
}

// WithPlan returns a catalog with one more plan.
func WithPlan(text []byte, p SecondPlan) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, service := range member(document.Content[0], "services").Content {
		if p.addTo(member(service, "plans")) {
			return encoded(&document)
		}
	}
	return nil, fmt.Errorf("the catalog has no plan %q", p.Of)
}

func (p SecondPlan) addTo(plans *yaml.Node) bool {
	for _, plan := range plans.Content {
		if member(plan, "name").Value != p.Of {
			continue
		}
		second := cloned(plan)
		member(second, "name").Value, member(second, "id").Value = p.Name, p.ID
		for key, value := range p.Config {
			member(member(second, "config"), key).Value = value
		}
		plans.Content = append(plans.Content, second)
		return true
	}
	return false
}

func cloned(node *yaml.Node) *yaml.Node {
	copied := *node
	copied.Content = nil
	for _, child := range node.Content {
		copied.Content = append(copied.Content, cloned(child))
	}
	return &copied
}

func encoded(document *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(document); err != nil {
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

// Parsed is the catalog as the brokers read it. It holds the backends'
// configurations, secrets included.
func (d *Deployment) Parsed() (*catalog.Catalog, error) {
	return catalog.Parse("catalog.yml", d.Catalog, all.Definitions(), func(name string) (string, bool) {
		value, ok := d.env[name]
		return value, ok
	})
}
