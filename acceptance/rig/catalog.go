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

// ShippedCatalog returns the shipped catalog, reduced to some backends, with its comments.
func ShippedCatalog(backends ...string) ([]byte, error) {
	text, err := all.Catalog()
	if err != nil {
		return nil, err
	}
	return CutCatalog(text, backends...)
}

// CutCatalog is ShippedCatalog for another catalog.
func CutCatalog(text []byte, backends ...string) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	root := document.Content[0]
	if all := member(root, "backends"); all != nil {
		var wanted []*yaml.Node
		for pair := range slices.Chunk(all.Content, 2) {
			if slices.Contains(backends, pair[0].Value) {
				wanted = append(wanted, pair...)
			}
		}
		all.Content = wanted
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

// SecondPlan reads the config of a second plan of a backend, between which and the first
// instances can move, from the backend's folder; nil: the catalog has two plans.
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

// WithSecondPlan returns a catalog with another plan of a backend, which differs from the first
// in name, id and config. Without config it returns the catalog unchanged.
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

func member(mapping *yaml.Node, key string) *yaml.Node {
	for pair := range slices.Chunk(mapping.Content, 2) {
		if pair[0].Value == key {
			return pair[1]
		}
	}
	return nil
}

// Parsed is the catalog as the brokers read it, with the secrets in the backends'
// configurations.
func (d *Deployment) Parsed() (*catalog.Catalog, error) {
	return catalog.Parse("catalog.yml", d.Catalog, all.Definitions(), func(name string) (string, bool) {
		value, ok := d.env[name]
		return value, ok
	})
}
