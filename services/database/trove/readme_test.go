package trove

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The README's examples are valid.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := map[string]json.RawMessage{}
	for _, m := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllSubmatch(text, -1) {
		examples[string(m[1])] = m[2]
	}
	driver, err := servicetest.Open(context.Background(), Definition(), examples["config"])
	if err != nil {
		t.Fatalf("config: %v", err)
	}
	defer func() { _ = driver.Close() }()
	var plan map[string]any
	if err := json.Unmarshal(examples["plan"], &plan); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(services.Keys(Definition().Types.Plan))), slices.Sorted(maps.Keys(plan))); diff != "" {
		t.Errorf("plan (-keys +shown):\n%s", diff)
	}
	if err := driver.CheckInstance(driver.Instance("i", examples["plan"], examples["create"])); err != nil {
		t.Errorf("create: %v", err)
	}
	if err := driver.CheckBinding(examples["bind"]); err != nil {
		t.Errorf("bind: %v", err)
	}
	var shown map[string]any
	if err := json.Unmarshal(examples["credentials"], &shown); err != nil {
		t.Fatalf("credentials: %v", err)
	}
	made := mysqldb.Server{Server: endpoint.Server{Host: "10.1.0.17", Port: 3306}, TLS: mysqldb.Disable}.Credentials("d", "u", services.NewSecret("p")).Values
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("credentials (-made +shown):\n%s", diff)
	}
}
