package catalog

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

type nothing struct{}

func definitionOf(name string) services.Definition {
	schema := []byte(`{"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties": {}}`)
	return services.Define(name, services.Schemas{InstanceCreate: schema, BindingCreate: schema}, services.Client{},
		func(context.Context, nothing) (services.Backend[nothing, nothing, nothing], error) { return nil, nil })
}

const mixed = `
backends:
  pg: {type: database/pg, config: {}}
  my: {type: database/my, config: {url: "${MY_URL}"}}
  mq: {type: queue/mq, config: {url: "${MQ_URL}"}}
services:
- id: s1
  name: database
  description: Databases
  bindable: true
  plans:
  - {id: p1, name: pg, description: One, backend: pg}
  - {id: p2, name: my, description: Two, backend: my, metadata: {displayName: "${MY_NAME}"}}
- id: s2
  name: queue
  description: Queues
  bindable: true
  plans:
  - {id: p3, name: mq, description: Three, backend: mq}
quotas:
- {service: database, instances: 1}
- {service: database, plan: my, instances: 2}
- {service: queue, instances: 3}
`

func TestParseWithout(t *testing.T) {
	defs := []services.Definition{definitionOf("database/pg"), definitionOf("database/my"), definitionOf("queue/mq")}
	none := func(string) (string, bool) { return "", false }
	c, err := Parse("catalog.yml", []byte(mixed), defs, none, "database/my", "queue/mq")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range c.Backends() {
		got = append(got, "backend "+b.Name)
	}
	for _, s := range c.Services() {
		for _, p := range s.Plans {
			got = append(got, s.Name+" "+p.Name)
		}
	}
	for _, q := range c.Quotas() {
		got = append(got, "quota of "+q.String())
	}
	if diff := cmp.Diff([]string{"backend pg", "database pg", "quota of service database"}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// What is not left out is checked as ever.
	_, err = Parse("catalog.yml", []byte(mixed), defs, none, "queue/mq")
	if err == nil || !strings.Contains(err.Error(), "MY_URL") || strings.Contains(err.Error(), "MQ_URL") {
		t.Errorf("got %v, want a fault of MY_URL and none of MQ_URL", err)
	}
}

// Without a place for backups, no plan has any.
func TestParseWithoutBackups(t *testing.T) {
	const text = `
backends: {pg: {type: database/pg, config: {}}}
backups: {store: {endpoint: "${ENDPOINT}", bucket: "${BUCKET}", access_key_id: a, secret_access_key: b}}
services:
- {id: s, name: s, description: S, bindable: true, plans: [{id: p, name: p, description: P, backend: pg, backups: {on_demand: 1}}]}
`
	def := definitionOf("database/pg")
	def.Streams = true
	none := func(string) (string, bool) { return "", false }
	c, err := Parse("catalog.yml", []byte(text), []services.Definition{def}, none, WithoutBackups)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := c.Plan("s", "p"); !ok || p.Backups != nil || c.Backups() != nil {
		t.Errorf("the plan has %+v, the catalog %+v", p.Backups, c.Backups())
	}
	if _, err := Parse("catalog.yml", []byte(text), []services.Definition{def}, none); err == nil || !strings.Contains(err.Error(), "BUCKET") {
		t.Errorf("got %v, want a fault of BUCKET", err)
	}
}

// A plan whose backups the server holds needs no store.
func TestHeldBackups(t *testing.T) {
	const text = `
backends: {pg: {type: database/pg, config: {}}}
services:
- {id: s, name: s, description: S, bindable: true, plans: [{id: p, name: p, description: P, backend: pg, backups: {on_demand: 1}}]}
`
	def := definitionOf("database/pg")
	def.HoldsBackups = true
	def.Schemas = services.Schemas{InstanceCreate: []byte(emptySchema), BindingCreate: []byte(emptySchema)}
	none := func(string) (string, bool) { return "", false }
	c, err := Parse("catalog.yml", []byte(text), []services.Definition{def}, none)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := c.Plan("s", "p"); !ok || p.Backups == nil || !p.Backups.Held || c.Backups() != nil || !c.HoldsBackups() {
		t.Errorf("the plan has %+v, the catalog %+v", p.Backups, c.Backups())
	}
	def.HoldsBackups, def.Streams = false, true
	if _, err := Parse("catalog.yml", []byte(text), []services.Definition{def}, none); err == nil || !strings.Contains(err.Error(), "backups.store") {
		t.Errorf("got %v, want a fault of the missing store", err)
	}
}

// A file whose backups are optional has them as soon as a store is configured.
func TestOptionalBackups(t *testing.T) {
	const text = `
backends: {pg: {type: database/pg, config: {}}}
backups: %s
services:
- {id: s, name: s, description: S, bindable: true, plans: [{id: p, name: p, description: P, backend: pg, backups: {on_demand: 1}}]}
`
	def := definitionOf("database/pg")
	def.Streams = true
	store := map[string]string{"ENDPOINT": "https://s3.example.com", "BUCKET": "backups", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}
	named := `store: {endpoint: "https://s3.example.com", bucket: backups, access_key_id: a, secret_access_key: b}`
	for name, test := range map[string]struct {
		section     string
		environment map[string]string
		backups     bool
		fault       string
	}{
		"no store":                   {"{required: false}", nil, false, ""},
		"a store in the environment": {"{required: false}", store, true, ""},
		"a store in the file":        {"{required: false, " + named + "}", nil, true, ""},
		"a store that is at fault":   {"{required: false}", map[string]string{"ENDPOINT": "s3"}, false, "CHANDLER_BACKUPS_BUCKET"},
		"required":                   {"{required: true}", nil, false, "backups.store: is required"},
		"required, with a store":     {"{required: true, " + named + "}", nil, true, ""},
		"no section":                 {"", nil, false, "the file does not say where backups are stored"},
		"other keys":                 {"{required: false, at_once: 3}", nil, false, "add store, or remove them"},
		"no flag":                    {"{required: never}", nil, false, "backups.required"},
	} {
		t.Run(name, func(t *testing.T) {
			getenv := func(name string) (string, bool) {
				value, ok := test.environment[strings.TrimPrefix(name, BackupVariables)]
				return value, ok
			}
			c, err := Parse("catalog.yml", fmt.Appendf(nil, text, test.section), []services.Definition{def}, getenv)
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("got %v, want %s", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p, _ := c.Plan("s", "p")
			if (p.Backups != nil) != test.backups || (c.Backups() != nil) != test.backups || (len(c.WithoutBackups()) == 0) != test.backups {
				t.Errorf("the plan has %+v, the catalog %+v; without: %v", p.Backups, c.Backups(), c.WithoutBackups())
			}
		})
	}
}
