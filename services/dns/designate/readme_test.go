package designate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
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

// The README's parameters and commands create, update, bind and use a zone.
func TestReadmeExamples(t *testing.T) {
	t.Parallel()
	server, ctx := newServer(t), testContext(t)
	driver, err := servicetest.Open(ctx, Definition(), server.proxied(server.gateway))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	_, plan := asJSON(t, example(t, "yaml", "plan"))
	made := driver.Instance("i", plan, raw(example(t, "json", "create")))
	t.Cleanup(func() {
		if err := servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error { return driver.Deprovision(ctx, made) }); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(driver.CheckInstance(made), servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return driver.Provision(ctx, made) })); err != nil {
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
	if err := errors.Join(driver.CheckUpdate(made, changed), servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return driver.Update(ctx, made, changed) })); err != nil {
		t.Fatal(err)
	}
	dialled(t, bindRaw(t, driver, changed, "reader", example(t, "json", "bind")))
	credentials := bindRaw(t, driver, changed, "writer", `{}`)
	var documented map[string]any
	if err := json.Unmarshal([]byte(example(t, "json", "credentials")), &documented); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(documented)), slices.Sorted(maps.Keys(credentials))); diff != "" {
		t.Errorf("credentials (-README +given):\n%s", diff)
	}
	zone, _ := credentials["zone"].(string)
	if diff := cmp.Diff([]string{"192.0.2.9", "app." + zone + "."}, runShell(t, server.Programs(), example(t, "sh", ""), credentials)); diff != "" {
		t.Errorf("the shell example (-want +got):\n%s", diff)
	}
}

// runShell runs a script with these programs and the credentials mounted as files, and returns its
// words.
func runShell(t *testing.T, programs, script string, credentials map[string]any) []string {
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
	cmd.Env = append(os.Environ(), "SERVICE_BINDING_ROOT="+root, "PATH="+programs+":"+os.Getenv("PATH"))
	var errors strings.Builder
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, errors.String())
	}
	return strings.Fields(string(out))
}

func bindRaw(t *testing.T, driver *servicetest.Driver, inst services.RawInstance, id, params string) map[string]any {
	t.Helper()
	c, err := driver.Bind(testContext(t), inst, services.RawBinding{ID: id, Params: raw(params), Seed: newSeed(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}
