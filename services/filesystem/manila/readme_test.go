package manila

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
	"github.com/chandler-broker/chandler/services/access"
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

// The README's examples are accepted, and the README explains all keys.
func TestReadme(t *testing.T) {
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
	types := Definition().Types
	for _, key := range slices.Concat(services.Keys(types.Config), services.Keys(types.Plan), services.Keys(types.Instance), services.Keys(types.Binding)) {
		if !strings.Contains(string(readme), "`"+key+"`") {
			t.Errorf("README.md does not explain %s", key)
		}
	}
}

// The credentials are those of the README's examples.
func TestReadmeCredentials(t *testing.T) {
	t.Parallel()
	cloud := newCloud(t)
	raw, err := json.Marshal(at(decoded(t, cloud.config("mtest", cloud.front)), map[string]any{"ceph_file_system": "cephfs"}))
	if err != nil {
		t.Fatal(err)
	}
	driver, err := servicetest.Open(t.Context(), Definition(), raw)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	plan := at(decoded(t, example(t, "plan")), map[string]any{"share_type": typeCephFS})
	rawPlan, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	inst := driver.Instance(newInstance(t, nil).ID, rawPlan, example(t, "create"))
	t.Cleanup(func() {
		if err := untilDone(t, func() error { return driver.Deprovision(testContext(t), inst) }); err != nil {
			t.Error(err)
		}
	})
	if err := untilDone(t, func() error { return driver.Provision(testContext(t), inst) }); err != nil {
		t.Fatal(err)
	}
	var c services.Credentials
	err = untilDone(t, func() (err error) {
		c, err = driver.Bind(testContext(t), inst, services.RawBinding{ID: "b", Params: example(t, "bind"), Seed: seed})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sameKeys(t, decoded(t, example(t, "credentials")), c.Values)
	b := cloud.backend(t, "mtest")
	shared := provisioned(t, b, overNFS)
	sameKeys(t, decoded(t, example(t, "nfs")), bound(t, b, shared, admitted(t, shared, "b", "10.0.3.17", access.ReadOnly)).Values)
}

func decoded(t *testing.T, raw json.RawMessage) map[string]any {
	t.Helper()
	var values map[string]any
	if err := json.Unmarshal(raw, &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// sameKeys fails t unless two objects have the same keys, at all depths.
func sameKeys(t *testing.T, shown, real map[string]any) {
	t.Helper()
	if diff := cmp.Diff(slices.Sorted(maps.Keys(shown)), slices.Sorted(maps.Keys(real))); diff != "" {
		t.Errorf("keys (-README +real):\n%s", diff)
	}
	for key, value := range real {
		inner, ok := value.(map[string]any)
		if other, both := shown[key].(map[string]any); ok && both {
			sameKeys(t, other, inner)
		}
	}
}

func untilDone(t *testing.T, verb func() error) error {
	t.Helper()
	var err error
	await(t, "waiting for the verb", func() bool {
		err = verb()
		return !isNotYet(err)
	})
	return err
}
