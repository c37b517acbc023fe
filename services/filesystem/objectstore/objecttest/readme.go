package objecttest

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// example is the README's block of JSON with this name.
func example(t *testing.T, name string) json.RawMessage {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```json " + name + "\n(.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatalf("README.md has no example %q", name)
	}
	return m[1]
}

// Readme tests the examples of a README in the working directory: they are taken, name all keys
// there are, and make what they show. C is the backend's Config, and raw reaches a real gateway.
func Readme[C any](t *testing.T, definition services.Definition, raw json.RawMessage) {
	var config map[string]any
	if err := json.Unmarshal(example(t, "config"), &config); err != nil {
		t.Fatal(err)
	}
	if _, err := definition.DecodeConfig(example(t, "config")); err != nil {
		t.Errorf("config: %v", err)
	}
	if _, err := definition.DecodePlan(example(t, "plan")); err != nil {
		t.Errorf("plan: %v", err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Concat(jsonKeys[C](t), jsonKeys[objectstore.Plan](t), jsonKeys[objectstore.BindingParams](t)) {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("README.md does not explain %s", key)
		}
	}
	ctx := Context(t)
	driver, err := servicetest.Open(ctx, definition, raw)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	inst := driver.Instance(rand.Text(), example(t, "plan"), example(t, "create"))
	if err := driver.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := driver.Deprovision(ctx, inst); err != nil {
			t.Error(err)
		}
	}()
	c, err := driver.Bind(ctx, inst, services.RawBinding{ID: "b", Params: example(t, "bind"), Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := json.Unmarshal(example(t, "credentials"), &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(shown)), slices.Sorted(maps.Keys(c.Values))); diff != "" {
		t.Errorf("keys of the credentials (-README +real):\n%s", diff)
	}
	if err := Dial(t, c.Values).Ping(ctx); err != nil {
		t.Error(err)
	}
}

func jsonKeys[T any](t *testing.T) []string {
	t.Helper()
	var zero T
	text, err := json.Marshal(zero)
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(text, &keys); err != nil {
		t.Fatal(err)
	}
	return slices.Collect(maps.Keys(keys))
}
