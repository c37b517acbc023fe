package smb

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// example is the README's block of a language with this name.
func example(t *testing.T, language, name string) []byte {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```" + language + " " + regexp.QuoteMeta(name) + "\n(.*?)```").FindSubmatch(readme)
	if m == nil {
		t.Fatalf("README.md has no example %q", name)
	}
	return m[1]
}

// The README's examples are what they say: they are taken, name all keys there
// are, and make what they show.
func TestReadme(t *testing.T) {
	if _, err := Definition().DecodeConfig(example(t, "json", "config")); err != nil {
		t.Errorf("config: %v", err)
	}
	if _, err := Definition().DecodePlan(example(t, "json", "plan")); err != nil {
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
	driver, err := servicetest.Open(ctx, Definition(), server.config("c", server.Address()))
	if err != nil {
		t.Fatal(err)
	}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	inst := driver.Instance("i", example(t, "json", "plan"), example(t, "json", "create"))
	if err := driver.Provision(ctx, inst); err != nil {
		t.Fatal(err)
	}
	c, err := driver.Bind(ctx, inst, services.RawBinding{ID: "b", Params: example(t, "json", "bind"), Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	if err := dialled(t, c.Values).Ping(ctx); err != nil {
		t.Error(err)
	}
	sameShape(t, "credentials", c.Values)
	mount, err := json.Marshal(c.VolumeMounts[0])
	if err != nil {
		t.Fatal(err)
	}
	var made map[string]any
	if err := json.Unmarshal(mount, &made); err != nil {
		t.Fatal(err)
	}
	sameShape(t, "volume_mount", made)
}

// sameShape compares the keys of an example with those of what was made.
func sameShape(t *testing.T, name string, made map[string]any) {
	t.Helper()
	var shown map[string]any
	if err := json.Unmarshal(example(t, "json", name), &shown); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(keysOf("", shown), keysOf("", made)); diff != "" {
		t.Errorf("keys of %s (-README +real):\n%s", name, diff)
	}
}

func keysOf(path string, object map[string]any) []string {
	var keys []string
	for _, key := range slices.Sorted(maps.Keys(object)) {
		keys = append(keys, path+key)
		if inner, ok := object[key].(map[string]any); ok {
			keys = append(keys, keysOf(path+key+".", inner)...)
		}
	}
	return keys
}

// The README's smb.conf has what readiness asks for, and is what the tests' own
// server has.
func TestReadmeConfiguration(t *testing.T) {
	server := newServer(t)
	shown := example(t, "ini", "smb.conf")
	path := filepath.Join(t.TempDir(), "smb.conf")
	if err := os.WriteFile(path, shown, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (samba{programs: server.ProgramsFolder(), config: path}).configured(testContext(t)); err != nil {
		t.Error(err)
	}
	config, err := os.ReadFile(server.ConfigFile())
	if err != nil {
		t.Fatal(err)
	}
	real := parseSections(string(config))
	for name, s := range parseSections(string(shown)) {
		for key, value := range s {
			if real[name][key] != value {
				t.Errorf("[%s] %s: the README says %q, the tests' server has %q", name, key, value, real[name][key])
			}
		}
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
