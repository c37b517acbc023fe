package mysql

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

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The README's examples are valid.
func TestReadme(t *testing.T) {
	examples := map[string]json.RawMessage{}
	for _, m := range regexp.MustCompile("(?s)```json (\\w+)\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		examples[m[1]] = json.RawMessage(m[2])
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
	if plan.ConnectionsPerBinding == 0 || plan.Bindings == 0 || plan.Storage == 0 || plan.StatementTimeout == 0 {
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
	made := mysqldb.Server{Server: endpoint.Server{Host: "db.example.com", Port: 3306}, TLS: mysqldb.Require}.Credentials("d", "u", services.NewSecret("p")).Values
	if diff := cmp.Diff(slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(shown))); diff != "" {
		t.Errorf("credentials (-made +shown):\n%s", diff)
	}
}

// The README's commands for root make an administrator, also over an existing one.
func TestReadmeSetsUpAServer(t *testing.T) {
	server := newServer(t)
	client, err := exec.LookPath("mariadb")
	if err != nil && os.Getenv("CI") != "true" {
		t.Skip("install the client mariadb (Debian: apt-get install --no-install-recommends mariadb-client)")
	}
	if err != nil {
		t.Fatal(err)
	}
	var typed []string
	for _, line := range regexp.MustCompile(`(?m)^    MariaDB> (.*)$`).FindAllStringSubmatch(readme(t), -1) {
		typed = append(typed, strings.Replace(line[1], "'...'", literal(adminPassword), 1))
	}
	root := parsed(t, server.mariadb.URL(""))
	password, _ := root.User.Password()
	options := filepath.Join(t.TempDir(), "options")
	if err := os.WriteFile(options, fmt.Appendf(nil, "[client]\nhost=%s\nport=%s\nuser=root\npassword=%s\n", root.Hostname(), root.Port(), password), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(testContext(t), client, "--defaults-file="+options)
	cmd.Stdin = strings.NewReader(strings.Join(typed, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil || len(typed) != 3 {
		t.Fatalf("%d lines: %v: %s", len(typed), err, out)
	}
	for _, u := range []string{"chandler", "chandler_admin"} {
		config, err := json.Marshal(map[string]any{"url": strings.Replace(server.admin.String(), "chandler_admin", u, 1)})
		if err != nil {
			t.Fatal(err)
		}
		driver, err := servicetest.Open(t.Context(), Definition(), config)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(driver.Ready(testContext(t)), driver.Close()); err != nil {
			t.Errorf("as %s: %v", u, err)
		}
	}
}
