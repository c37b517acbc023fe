package chandler_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	chandler "github.com/chandler-broker/chandler"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

// TestShippedCatalog reads the shipped file with the real backends: their
// configurations, plans and schemas have to fit it.
func TestShippedCatalog(t *testing.T) {
	c, err := catalog.Parse("catalog.yml", chandler.CatalogYAML(), all.Definitions(), variable)
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
			if p.BackendType == "database/postgres" && !bytes.Contains(p.Config, []byte(`"temp_file_limit"`)) {
				t.Errorf("the plan %s does not limit temporary files", p.Name)
			}
			if p.CheckBind([]byte(`{"no-such-parameter": 1}`)) == nil {
				t.Errorf("the plan %s takes any parameter of a binding", p.Name)
			}
			checkWords(t, s.Name, p)
		}
	}
}

// checkWords checks that a user whose zone or subject has the wrong form is told
// in words which one it has to have.
func checkWords(t *testing.T, service string, p *catalog.Plan) {
	t.Helper()
	for _, test := range []struct {
		service string
		err     error
		want    string
	}{
		{"dns", p.CheckCreate([]byte(`{"zone": "my shop"}`)), "parameters.zone: has the wrong form; expected: Complete domain name of the zone, such as shop.apps.example.com"},
		{"queue", p.CheckBind([]byte(`{"publish": ["a b"]}`)), "parameters.publish[0]: has the wrong form; expected: A subject"},
	} {
		if p.Name == "rabbitmq-small" || service != test.service {
			continue
		}
		if test.err == nil || !strings.Contains(test.err.Error(), test.want) || strings.Contains(test.err.Error(), "[A-Za-z") {
			t.Errorf("the plan %s: %v, want %q", p.Name, test.err, test.want)
		}
	}
}

// variable is every variable that the shipped catalog reads.
func variable(name string) (string, bool) {
	variables := map[string]string{
		"POSTGRES_ADMIN_URL":      "postgres://broker:secret@127.0.0.1:5432/postgres",
		"MYSQL_ADMIN_URL":         "mysql://chandler:secret@127.0.0.1:3306/chandler",
		"NATS_URL":                "nats://127.0.0.1:4222",
		"NATS_OPERATOR_SEED_FILE": "/etc/chandler/operator.nk",
		"NATS_SYSTEM_CREDS_FILE":  "/etc/chandler/system.creds",
		"RABBITMQ_ADMIN_URL":      "http://chandler:secret@127.0.0.1:15672",
		"RABBITMQ_HOST":           "127.0.0.1",
		"RABBITMQ_PORT":           "5672",
		"POWERDNS_API_URL":        "http://127.0.0.1:8081",
		"POWERDNS_API_KEY":        "secret-secret",
		"POWERDNS_HOST":           "127.0.0.1",
		"POWERDNS_PORT":           "53",
		"SMB_ADDRESS":             "127.0.0.1:445",
		"SMB_FOLDER":              "/srv/shares",
		"SMB_ACCOUNTS":            "/var/lib/extrausers",
		"SMB_CONFIG_FILE":         "/etc/samba/smb.conf",
		"SMB_PROGRAMS":            "/usr/bin",
		"S3_ENDPOINT":             "http://127.0.0.1:7070",
		"S3_ACCESS_KEY_ID":        "root",
		"S3_SECRET_ACCESS_KEY":    "secret-secret",
		"S3_SHARED_FOLDER":        "",
		"FUNCTIONS_DATABASE_URL":  "postgres://functions:secret@127.0.0.1:5432/functions",
		"FUNCTIONS_API_HOST":      "https://functions.example.com",
	}
	value, ok := variables[name]
	return value, ok
}

// What "chandler catalog init --only" writes is valid, and has what was asked for and
// nothing else.
func TestSelectedCatalogs(t *testing.T) {
	full, err := catalog.Parse("catalog.yml", chandler.CatalogYAML(), all.Definitions(), variable)
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
			text, err := catalog.Select(chandler.CatalogYAML(), types)
			if err != nil {
				t.Fatal(err)
			}
			c, err := catalog.Parse("catalog.yml", text, all.Definitions(), variable)
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
	text, err := catalog.Select(chandler.CatalogYAML(), []string{"dns/powerdns"})
	if err != nil || strings.Contains(string(text), "MariaDB") || strings.Contains(string(text), "POSTGRES_ADMIN_URL}\n") || !strings.Contains(string(text), "# The NS records of every zone") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := catalog.Select(chandler.CatalogYAML(), []string{"dns/bind"}); err == nil || !strings.Contains(err.Error(), "dns/powerdns") {
		t.Errorf("a type that is none: %v", err)
	}
}
