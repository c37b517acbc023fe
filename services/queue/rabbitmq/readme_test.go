package rabbitmq

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The README's examples are what they say, and work on the server.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]json.RawMessage{}
	for _, m := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllSubmatch(text, -1) {
		examples[string(m[1])] = m[2]
	}
	plan, err := services.Decode[Plan](examples["plan"])
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	for field := range reflect.TypeFor[Plan]().Fields() {
		if reflect.ValueOf(plan).FieldByIndex(field.Index).IsZero() {
			t.Errorf("plan: %s is not in the example", field.Name)
		}
	}
	var shown map[string]any
	if err := json.Unmarshal(examples["credentials"], &shown); err != nil {
		t.Fatalf("credentials: %v", err)
	}
	told := openBackend(t, examples["config"]).server
	made := told.credentials("v", "u", services.NewSecret("p")).Values
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("credentials (-made +shown):\n%s", diff)
	}
	for _, key := range []string{"type", "provider", "host", "port", "tls"} {
		if diff := cmp.Diff(made[key], shown[key]); diff != "" {
			t.Errorf("%s (-made +shown):\n%s", key, diff)
		}
	}
	tryExamples(t, examples)
}

func tryExamples(t *testing.T, examples map[string]json.RawMessage) {
	t.Helper()
	server := newServer(t)
	driver, err := servicetest.Open(context.Background(), Definition(), server.proxied("readme")(server.admin.Host))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = driver.Close() }()
	inst := driver.Instance("readme", examples["plan"], nil)
	if err := driver.Provision(testContext(t), inst); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := servicetest.ToTheEnd(testContext(t), func(ctx context.Context) error { return driver.Deprovision(ctx, inst) }); err != nil {
			t.Error(err)
		}
	}()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		t.Fatal(err)
	}
	c, err := driver.Bind(testContext(t), inst, services.RawBinding{ID: "b", Params: examples["bind"], Seed: seed})
	if err != nil {
		t.Fatalf("bind: %v", err)
	}
	s := dialled(t, c.Values)
	must(t, s, declares("orders.new", nil))
	if err := s.channel(testContext(t), declares("bills.new", nil)); !denied(err) {
		t.Errorf("the example lets its application declare anything: %v", err)
	}
}
