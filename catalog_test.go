package chandler_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

var update = flag.Bool("update", false, "write what the tests find to the files that they compare it with, for review")

func shipped(t *testing.T) []byte {
	t.Helper()
	text, err := all.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestShippedCatalog reads the shipped file with the real backends: their
// configurations, plans and schemas have to fit it.
func TestShippedCatalog(t *testing.T) {
	c, err := catalog.Parse("catalog.yml", shipped(t), all.Definitions(), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Services() {
		if !s.InstancesRetrievable || !s.BindingsRetrievable || !s.AllowContextUpdates {
			t.Errorf("the service %s: instances and bindings must be retrievable, and context updates allowed", s.Name)
		}
		for _, p := range s.Plans {
			if !p.Bindable || !p.Rotatable || p.MaintenanceVersion == "" {
				t.Errorf("the plan %s must be bindable and rotatable, and have a maintenance version", p.Name)
			}
			if want := strings.HasPrefix(p.Name, "postgres-"); p.Updateable != want {
				t.Errorf("the plan %s: instances can change to another plan: %t, want %t", p.Name, p.Updateable, want)
			}
			for verb, err := range map[string]error{
				"provision": p.CheckCreate(nil), "update": p.CheckUpdate(nil), "bind": p.CheckBind(nil),
			} {
				if err != nil {
					t.Errorf("the plan %s cannot %s without parameters: %s", p.Name, verb, err)
				}
			}
			if p.BackendType == "database/postgres" && !bytes.Contains(p.Config.JSON(), []byte(`"temp_file_limit"`)) {
				t.Errorf("the plan %s does not limit temporary files", p.Name)
			}
			if p.CheckBind([]byte(`{"no-such-parameter": 1}`)) == nil {
				t.Errorf("the plan %s takes any parameter of a binding", p.Name)
			}
			checkWords(t, p)
		}
	}
}

// checkWords checks that a user whose zone or subject has the wrong form is told
// in words which one it has to have.
func checkWords(t *testing.T, p *catalog.Plan) {
	t.Helper()
	for _, test := range []struct {
		plan string
		err  error
		want string
	}{
		{"zone", p.CheckCreate([]byte(`{"zone": "my shop"}`)), "parameters.zone: has the wrong form; expected: Complete domain name of the zone, such as shop.apps.example.com"},
		{"nats-small", p.CheckBind([]byte(`{"publish": ["a b"]}`)), "parameters.publish[0]: has the wrong form; expected: A subject"},
	} {
		if p.Name != test.plan {
			continue
		}
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) || strings.Contains(test.err.Error(), "[A-Za-z") {
			t.Errorf("the plan %s: %v, want %q", p.Name, test.err, test.want)
		}
	}
}

// environment returns the variables that the backends' catalogs read, from examples
// in their folders.
func environment(t *testing.T) func(name string) (string, bool) {
	t.Helper()
	files, err := filepath.Glob("services/*/*/testdata/environment")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v: %v", files, err)
	}
	variables := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
			variables[name] = value
		}
	}
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

// The files are what "chandler catalog init" writes, with --only and the backends on OpenStack and
// Ceph for the one in deploy/openstack.
func TestCatalogFile(t *testing.T) {
	for file, types := range map[string][]string{"catalog.yml": nil, "deploy/openstack/catalog.yml": all.Cloud()} {
		t.Run(file, func(t *testing.T) {
			got, err := all.Catalog(types...)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("change the backends' catalogs and services/all/catalog.yml, and write this one with: go test . -run CatalogFile -update (-want +got):\n%s", diff)
			}
			if _, err := catalog.Parse(file, got, all.Definitions(), environment(t)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Backends agree on the services that they share.
func TestSharedServices(t *testing.T) {
	services := map[any]map[string]any{}
	for _, d := range all.Definitions() {
		var document struct {
			Backends map[string]any
			Services []map[string]any
		}
		if err := yaml.Unmarshal(d.Catalog, &document); err != nil || len(document.Backends) == 0 || len(document.Services) == 0 {
			t.Fatalf("%s: %+v: %v", d.Name, document, err)
		}
		for _, s := range document.Services {
			delete(s, "plans")
			if services[s["id"]] == nil {
				services[s["id"]] = s
			}
			if diff := cmp.Diff(services[s["id"]], s); diff != "" {
				t.Errorf("%s: another backend's catalog describes the service otherwise:\n%s", d.Name, diff)
			}
		}
	}
}

// What "chandler catalog init --only" writes is valid, and has what was asked for and
// nothing else.
func TestSelectedCatalogs(t *testing.T) {
	var everything []string
	for _, d := range all.Definitions() {
		everything = append(everything, d.Name)
	}
	whole, err := all.Catalog(everything...)
	if err != nil {
		t.Fatal(err)
	}
	full, err := catalog.Parse("catalog.yml", whole, all.Definitions(), environment(t))
	if err != nil {
		t.Fatal(err)
	}
	var selections [][]string
	for _, d := range all.Definitions() {
		selections = append(selections, []string{d.Name})
		for _, other := range all.Definitions() {
			if d.Name < other.Name {
				selections = append(selections, []string{d.Name, other.Name})
			}
		}
	}
	for _, types := range selections {
		t.Run(strings.Join(types, ","), func(t *testing.T) {
			text, err := all.Catalog(types...)
			if err != nil {
				t.Fatal(err)
			}
			c, err := catalog.Parse("catalog.yml", text, all.Definitions(), environment(t))
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			var want []string
			for _, b := range full.Backends() {
				if slices.Contains(types, b.Definition.Name) {
					for _, p := range full.PlansOf(b.Name) {
						want = append(want, b.Name+"/"+p.Name)
					}
				}
			}
			var got []string
			for _, b := range c.Backends() {
				for _, p := range c.PlansOf(b.Name) {
					got = append(got, b.Name+"/"+p.Name)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("it has %v, want %v", got, want)
			}
			if !strings.Contains(string(text), "# The platforms that may use this broker") || strings.Contains(string(text), "\n\n\n") {
				t.Errorf("comments or blank lines:\n%s", text)
			}
		})
	}
	text, err := all.Catalog("dns/powerdns")
	if err != nil || strings.Contains(string(text), "MariaDB") || strings.Contains(string(text), "POSTGRES_ADMIN_URL}\n") || !strings.Contains(string(text), "# The NS records of every zone") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := all.Catalog("dns/bind"); err == nil || !strings.Contains(err.Error(), "dns/powerdns") {
		t.Errorf("a type that is none: %v", err)
	}
}
