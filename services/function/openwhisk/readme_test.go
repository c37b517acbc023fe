package openwhisk

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
	if _, err := Definition().DecodeConfig(example(t, "config")); err != nil {
		t.Errorf("config: %v", err)
	}
	if _, err := Definition().DecodePlan(example(t, "plan")); err != nil {
		t.Errorf("plan: %v", err)
	}
	if _, err := services.Decode[InstanceParams](example(t, "create")); err != nil {
		t.Errorf("create: %v", err)
	}
	server, ctx := newServer(t), t.Context()
	driver, err := servicetest.Open(ctx, Definition(), server.config(t, server.address(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = driver.Close() }()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	inst := driver.Instance("i", example(t, "plan"), nil)
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
	session, err := dial(ctx, c.Values)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	if session.Write(ctx, "k", "v") == nil {
		t.Error("the example's role deploys")
	}
	uri, _ := c.Values["uri"].(string)
	a := newApplication(t, c.Values)
	if want := strings.Replace(a.host, "://", "://"+a.user+":"+a.password+"@", 1) + "/api/v1/namespaces/" + a.namespace; uri != want {
		t.Errorf("uri: %q, want %q", uri, want)
	}
	a.expect(t, 200, "GET", "/namespaces/"+a.namespace+"/actions", nil)
}

// The README explains every key, and the examples are complete.
func TestReadmeNamesAll(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range slices.Concat(jsonKeys[Config](t), jsonKeys[Plan](t), jsonKeys[InstanceParams](t), jsonKeys[Mount](t), jsonKeys[BindingParams](t)) {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("README.md does not explain %s", key)
		}
	}
	var plan map[string]any
	if err := json.Unmarshal(example(t, "plan"), &plan); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(jsonKeys[Plan](t))), slices.Sorted(maps.Keys(plan))); diff != "" {
		t.Errorf("keys of a plan (-struct +README):\n%s", diff)
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
