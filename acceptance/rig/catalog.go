package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/google/uuid"

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

// SecondPlan reads what a second plan of a backend says in config, for instances to
// move to and fro, from the backend's folder; nil where the catalog has two.
func SecondPlan(ctx context.Context, backend string) (config map[string]string, err error) {
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/chandler-broker/chandler")
	if err != nil {
		return nil, err
	}
	catalogs, err := filepath.Glob(filepath.Join(root, "services", "*", "*", "catalog.yml"))
	if err != nil {
		return nil, err
	}
	for _, path := range catalogs {
		var document struct{ Backends map[string]any }
		if err := readYAML(path, &document); err != nil {
			return nil, err
		}
		if document.Backends[backend] == nil {
			continue
		}
		err := readYAML(filepath.Join(filepath.Dir(path), "testdata", "second-plan.yml"), &config)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return config, err
	}
	return nil, fmt.Errorf("no folder has the catalog of backend %q", backend)
}

func readYAML(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return yaml.Unmarshal(text, into)
}

// WithSecondPlan returns a catalog with one more plan of a backend, which is like the
// first one but for its name, its id and what config says; without config it is the
// same catalog.
func WithSecondPlan(text []byte, backend string, config map[string]string) ([]byte, error) {
	if config == nil {
		return text, nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, service := range member(document.Content[0], "services").Content {
		plans := member(service, "plans")
		for _, plan := range plans.Content {
			if member(plan, "backend").Value == backend {
				plans.Content = append(plans.Content, second(plan, config))
				return encoded(&document)
			}
		}
	}
	return nil, fmt.Errorf("the catalog has no plan of backend %q", backend)
}

func second(plan *yaml.Node, config map[string]string) *yaml.Node {
	plan = cloned(plan)
	name := member(plan, "name")
	name.Value += "-second"
	member(plan, "id").Value = uuid.NewSHA1(uuid.NameSpaceOID, []byte(name.Value)).String()
	for key, value := range config {
		member(member(plan, "config"), key).Value = value
	}
	return plan
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
