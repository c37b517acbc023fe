package postgres

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
	plan, err := services.Decode[Plan](examples["plan"])
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	if plan.Spares == 0 || plan.Storage == 0 || plan.TempFileLimit == 0 || plan.Locks == 5000 || plan.StatementTimeout == 0 || plan.ConnectionsPerBinding == 0 {
		t.Errorf("plan: not every key is in the example: %+v", plan)
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
	made := server{endpoint.Server{Host: "db.example.com", Port: 5432}, "require"}.credentials("d", "u", services.NewSecret("p")).Values
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("credentials (-made +shown):\n%s", diff)
	}
}
