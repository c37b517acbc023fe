package s3

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
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

// The README's examples are what they say: they are taken, name all keys there
// are, and make what they show.
func TestReadme(t *testing.T) {
	var config map[string]any
	if err := json.Unmarshal(example(t, "config"), &config); err != nil {
		t.Fatal(err)
	}
	if _, err := Definition().DecodeConfig(example(t, "config")); err != nil {
		t.Errorf("config: %v", err)
	}
	if _, err := Definition().DecodePlan(example(t, "plan")); err != nil {
		t.Errorf("plan: %v", err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Concat(jsonKeys[Config](t), jsonKeys[Plan](t), jsonKeys[BindingParams](t)) {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("README.md does not explain %s", key)
		}
	}
	server, ctx := newServer(t), testContext(t)
	driver, err := servicetest.Open(ctx, Definition(), server.config("c", server.address()))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	inst := driver.Instance("i", example(t, "plan"), example(t, "create"))
	if err := driver.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
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
	if err := dialled(t, c.Values).Ping(ctx); err != nil {
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
