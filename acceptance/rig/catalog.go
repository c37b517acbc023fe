package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

// catalogText is a catalog as text that can be changed.
type catalogText struct {
	Backends map[string]any `yaml:"backends,omitempty"`
	Services []*serviceText `yaml:"services"`
	Rest     map[string]any `yaml:",inline"`
}

type serviceText struct {
	Plans []map[string]any `yaml:"plans"`
	Rest  map[string]any   `yaml:",inline"`
}

// ShippedCatalog returns the shipped catalog, reduced to some backends, as 'chandler catalog init
// --only' writes it. Its backends on OpenStack have the endpoints of a Deployment.
func ShippedCatalog(backends ...string) ([]byte, error) {
	var types []string
	for _, d := range all.Definitions() {
		if slices.Contains(backends, backendName(d)) {
			types = append(types, d.Name)
		}
	}
	text, err := all.Catalog(types...)
	if err != nil || !slices.ContainsFunc(CloudBackends(), func(name string) bool { return slices.Contains(backends, name) }) {
		return text, err
	}
	return withEndpoints(text)
}

// withEndpoints returns a catalog whose backends on OpenStack find their services by the variables
// of a Deployment instead of Keystone's catalog.
func withEndpoints(text []byte) ([]byte, error) {
	var c catalogText
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	for _, f := range cloudFamilies() {
		backend, _ := c.Backends[f.backend].(map[string]any)
		if config, ok := backend["config"].(map[string]any); ok {
			config["endpoint"] = "${" + f.variable + "}"
		}
	}
	return yaml.Marshal(c)
}

// CutCatalog reduces another catalog to some backends.
func CutCatalog(text []byte, backends ...string) ([]byte, error) {
	var c catalogText
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	maps.DeleteFunc(c.Backends, func(name string, _ any) bool { return !slices.Contains(backends, name) })
	c.Services = slices.DeleteFunc(c.Services, func(s *serviceText) bool {
		s.Plans = slices.DeleteFunc(s.Plans, func(plan map[string]any) bool {
			return !slices.Contains(backends, fmt.Sprint(plan["backend"]))
		})
		return len(s.Plans) == 0
	})
	return yaml.Marshal(c)
}

// SecondPlan reads the config of a second plan of a backend, between which and the first
// instances can move both ways, from the backend's folder; nil: the catalog has two such plans.
func SecondPlan(ctx context.Context, backend string) (config map[string]any, err error) {
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

// WithSecondPlan returns a catalog with two plans of a backend: the first, and one that differs from
// it in name, id and config. Without config it returns the catalog unchanged.
func WithSecondPlan(text []byte, backend string, config map[string]any) ([]byte, error) {
	if config == nil {
		return text, nil
	}
	var c catalogText
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	of := func(plan map[string]any) bool { return plan["backend"] == backend }
	for _, service := range c.Services {
		at := slices.IndexFunc(service.Plans, of)
		if at < 0 {
			continue
		}
		first := service.Plans[at]
		service.Plans = append(slices.DeleteFunc(service.Plans, of), first, second(first, config))
		return yaml.Marshal(c)
	}
	return nil, fmt.Errorf("the catalog has no plan of backend %q", backend)
}

func second(plan, changes map[string]any) map[string]any {
	plan = maps.Clone(plan)
	name := fmt.Sprint(plan["name"]) + "-second"
	config := map[string]any{}
	if first, ok := plan["config"].(map[string]any); ok {
		maps.Copy(config, first)
	}
	maps.Copy(config, changes)
	plan["name"], plan["id"], plan["config"] = name, uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String(), config
	return plan
}

// Parsed is the catalog as the brokers read it, with the secrets in the backends'
// configurations.
func (d *Deployment) Parsed() (*catalog.Catalog, error) {
	return catalog.Parse("catalog.yml", d.Catalog, all.Definitions(), func(name string) (string, bool) {
		value, ok := d.env[name]
		return value, ok
	})
}

// WithSpare returns a catalog in which a backend has a second server, named spare, whose URL is in the
// variable and which gets no instances of its own.
func WithSpare(text []byte, backend, variable string) ([]byte, error) {
	var c catalogText
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	of, ok := c.Backends[backend].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the catalog has no backend %q", backend)
	}
	of["servers"] = map[string]any{
		"default": map[string]any{"config": of["config"]},
		"spare":   map[string]any{"config": map[string]any{"url": "${" + variable + "}"}, "drain": true},
	}
	delete(of, "config")
	return yaml.Marshal(c)
}

// WithBackups returns a catalog with backups on demand in every plan whose backend can make them.
func WithBackups(text []byte) ([]byte, error) {
	var c catalogText
	if err := yaml.Unmarshal(text, &c); err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	streams := map[string]bool{}
	for _, d := range all.Definitions() {
		streams[backendName(d)] = d.Streams
	}
	for _, s := range c.Services {
		for _, plan := range s.Plans {
			if streams[fmt.Sprint(plan["backend"])] {
				plan["backups"] = map[string]any{"on_demand": 3}
			}
		}
	}
	return yaml.Marshal(c)
}
