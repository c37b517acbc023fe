package powerdns

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

var block = regexp.MustCompile("(?ms)^```([a-z]+)(?: ([a-z]+))?\n(.*?)^```$")

// example is a block of the README by its language and name.
func example(t *testing.T, language, name string) string {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range block.FindAllStringSubmatch(string(readme), -1) {
		if m[1] == language && m[2] == name {
			return m[3]
		}
	}
	t.Fatalf("README.md has no block %s %s", language, name)
	return ""
}

// asJSON is a YAML example as JSON.
func asJSON(t *testing.T, text string) (map[string]any, json.RawMessage) {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return value, data
}

func TestReadmeConfiguration(t *testing.T) {
	value, _ := asJSON(t, example(t, "yaml", "backend"))
	config, err := json.Marshal(value["config"])
	if err != nil {
		t.Fatal(err)
	}
	if value["type"] != Definition().Name {
		t.Errorf("type: %v", value["type"])
	}
	if _, err := Definition().DecodeConfig(config); err != nil {
		t.Error(err)
	}
	_, plan := asJSON(t, example(t, "yaml", "plan"))
	if _, err := Definition().DecodePlan(plan); err != nil {
		t.Error(err)
	}
}

// The README's commands create, update, bind and use a zone.
func TestReadmeExamples(t *testing.T) {
	nsupdate, err := exec.LookPath("nsupdate")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("install nsupdate and dig (Debian: apt-get install --no-install-recommends bind9-dnsutils)")
	}
	if err != nil {
		t.Fatalf("%s: install nsupdate and dig (Debian: apt-get install --no-install-recommends bind9-dnsutils): %v", nsupdate, err)
	}
	server, ctx := newServer(t), testContext(t)
	driver, err := servicetest.Open(ctx, Definition(), server.proxied(server.apiAddress()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = driver.Close() }()
	_, plan := asJSON(t, example(t, "yaml", "plan"))
	made := driver.Instance("i", plan, raw(example(t, "json", "create")))
	if err := driver.CheckInstance(made); err != nil {
		t.Fatal(err)
	}
	if err := driver.Provision(ctx, made); err != nil {
		t.Fatal(err)
	}
	var merged map[string]any
	for _, params := range []string{example(t, "json", "create"), example(t, "json", "update")} {
		if err := json.Unmarshal([]byte(params), &merged); err != nil {
			t.Fatal(err)
		}
	}
	params, err := json.Marshal(merged)
	if err != nil {
		t.Fatal(err)
	}
	changed := driver.Instance("i", plan, params)
	if err := driver.CheckUpdate(made, changed); err != nil {
		t.Fatal(err)
	}
	if err := driver.Update(ctx, made, changed); err != nil {
		t.Fatal(err)
	}
	attributes, err := driver.Functions.Describe(ctx, changed)
	if ds, _ := attributes["ds"].([]any); err != nil || len(ds) != 1 {
		t.Errorf("metadata: %v, %v", attributes, err)
	}
	credentials := bindRaw(t, driver, changed, "reader", example(t, "json", "bind"))
	dialled(t, credentials)
	credentials = bindRaw(t, driver, changed, "writer", `{}`)
	var keys, shown []string
	var documented map[string]any
	if err := json.Unmarshal([]byte(example(t, "json", "credentials")), &documented); err != nil {
		t.Fatal(err)
	}
	for key := range credentials {
		keys = append(keys, key)
	}
	for key := range documented {
		shown = append(shown, key)
	}
	slices.Sort(keys)
	slices.Sort(shown)
	if diff := cmp.Diff(shown, keys); diff != "" {
		t.Errorf("credentials (-README +given):\n%s", diff)
	}
	out := runShell(t, example(t, "sh", ""), credentials)
	if want := []string{"192.0.2.1", "192.0.2.3"}; !cmp.Equal(want, out) {
		t.Errorf("the shell example says %q, want %q", out, want)
	}
}

func bindRaw(t *testing.T, driver *servicetest.Driver, inst services.RawInstance, id, params string) map[string]any {
	t.Helper()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := driver.Bind(testContext(t), inst, services.RawBinding{ID: id, Params: raw(params), Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}

// runShell runs a script with the credentials mounted as files, and returns
// its sorted lines.
func runShell(t *testing.T, script string, credentials map[string]any) []string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "dns"), 0o700); err != nil {
		t.Fatal(err)
	}
	for key, value := range credentials {
		if err := os.WriteFile(filepath.Join(root, "dns", key), []byte(fmt.Sprint(value)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(testContext(t), "sh", "-eu", "-c", script)
	cmd.Env = append(os.Environ(), "SERVICE_BINDING_ROOT="+root)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	lines := strings.Fields(string(out))
	slices.Sort(lines)
	return lines
}
