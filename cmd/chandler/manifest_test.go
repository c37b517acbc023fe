package main

import (
	"bytes"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/services/all"
)

// cfManifest has the attributes of an application that manifest.yml uses:
// https://docs.cloudfoundry.org/devguide/deploy-apps/manifest-attributes.html
type cfManifest struct {
	Applications []struct {
		Name          string            `yaml:"name"`
		Path          string            `yaml:"path"`
		Buildpacks    []string          `yaml:"buildpacks"`
		Command       string            `yaml:"command"`
		Instances     int               `yaml:"instances"`
		Memory        string            `yaml:"memory"`
		Disk          string            `yaml:"disk_quota"`
		Health        string            `yaml:"health-check-type"`
		HealthPath    string            `yaml:"health-check-http-endpoint"`
		Readiness     string            `yaml:"readiness-health-check-type"`
		ReadinessPath string            `yaml:"readiness-health-check-http-endpoint"`
		Services      []string          `yaml:"services"`
		Env           map[string]string `yaml:"env"`
	} `yaml:"applications"`
}

// What manifest.yml says of the program is true.
func TestManifest(t *testing.T) {
	text, err := os.ReadFile("../../manifest.yml")
	if err != nil {
		t.Fatal(err)
	}
	var m cfManifest
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&m); err != nil || len(m.Applications) != 1 {
		t.Fatalf("%d applications, %v", len(m.Applications), err)
	}
	app := m.Applications[0]
	if !slices.Equal(app.Buildpacks, []string{"binary_buildpack"}) || app.Instances < 2 || app.Health != "http" || app.Readiness != "http" {
		t.Errorf("got %+v", app)
	}
	program, verb, _ := strings.Cut(app.Command, " ")
	if cmd, rest, err := newRoot().Find(strings.Fields(verb)); program != "./chandler" || err != nil || len(rest) > 0 || cmd.Name() != "serve" {
		t.Errorf("the command %q is not chandler serve", app.Command)
	}
	if !slices.Contains(app.Services, app.Env["CHANDLER_STATE_SERVICE"]) {
		t.Errorf("CHANDLER_STATE_SERVICE names %q, and bound are %q", app.Env["CHANDLER_STATE_SERVICE"], app.Services)
	}
	shipped, err := all.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	for name := range app.Env {
		if !strings.Contains(environment, name) && !bytes.Contains(shipped, []byte("${"+name+"}")) {
			t.Errorf("neither chandler serve nor the shipped catalog reads %s", name)
		}
	}
	if app.HealthPath != "/healthz" || app.ReadinessPath != "/readyz" {
		t.Errorf("health is asked for at %q, readiness at %q", app.HealthPath, app.ReadinessPath)
	}
	expectVariables(t, text)
}

// expectVariables finds that the guide says how to fill every variable.
func expectVariables(t *testing.T, manifest []byte) {
	t.Helper()
	guide, err := os.ReadFile("../../docs/cloudfoundry.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range regexp.MustCompile(`\(\((\w+)\)\)`).FindAllSubmatch(manifest, -1) {
		if !bytes.Contains(guide, append([]byte("\n"), append(v[1], ':')...)) {
			t.Errorf("docs/cloudfoundry.md does not say what ((%s)) is", v[1])
		}
	}
}
