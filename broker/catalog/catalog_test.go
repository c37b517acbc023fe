package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/broker/catalog"
)

func good(t *testing.T) *catalog.Catalog {
	t.Helper()
	c, err := catalog.Load("testdata/good.yml", definitions(), environment)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestPlan(t *testing.T) {
	c := good(t)
	p, ok := c.Plan("s1", "p1")
	if !ok {
		t.Fatal("the plan p1 of s1 is not found")
	}
	got := *p
	want := catalog.Plan{
		ID: "p1", Name: "small", Description: "Small", Service: p.Service, Backend: "fake", BackendType: "database/fake", Family: "database",
		Bindable: true, Rotatable: true, Updateable: true,
		RequiresApp: true, RequiresAsync: true, Cascade: true, Endpoints: true,
		DashboardURL:   "https://example.com/i/{instance_id}?id={instance_id}",
		PollingSeconds: 60, MaximumPollingDuration: time.Minute,
		BindingLifetime: 720 * time.Hour, BindingRenewBefore: 168 * time.Hour, KeepDeleted: 48*time.Hour + 30*time.Minute,
		MaintenanceVersion: "1.2.3-rc.1+x",
	}
	if config := string(p.Config.JSON()); config != `{"connections":3,"extensions":[]}` {
		t.Errorf("the plan's configuration is %s", config)
	}
	// TestJSON compares what platforms read of the plan.
	ignored := map[string]bool{".Backups": true, ".MaintenanceInfo": true, ".Metadata": true, ".Schemas": true, ".Service": true, ".Config": true}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return ignored[p.Last().String()] }, cmp.Ignore())
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if p.Service.Name != "one" || p.Service.Plans[0] != p {
		t.Errorf("the plan's service is %s", p.Service.Name)
	}
}

func TestPlanOverridesService(t *testing.T) {
	tests := []struct {
		service, plan        string
		bindable, updateable bool
	}{
		{"s1", "p1", true, true},
		{"s1", "p2", false, false},
		{"s1", "p4", true, false}, // no other plan is on its backend
		{"s1", "p5", true, true},
		{"s2", "p3", true, false},
	}
	c := good(t)
	for _, test := range tests {
		t.Run(test.plan, func(t *testing.T) {
			p, ok := c.Plan(test.service, test.plan)
			if !ok {
				t.Fatal("the plan is not found")
			}
			if p.Bindable != test.bindable || p.Updateable != test.updateable {
				t.Errorf("bindable %t, updateable %t", p.Bindable, p.Updateable)
			}
			if test.plan != "p1" && p.MaximumPollingDuration != time.Hour {
				t.Errorf("maximum polling duration is %s", p.MaximumPollingDuration)
			}
		})
	}
}

func TestLookups(t *testing.T) {
	c := good(t)
	for _, ids := range [][2]string{{"s2", "p1"}, {"s1", "nope"}, {"", ""}, {"p1", "s1"}} {
		if _, ok := c.Plan(ids[0], ids[1]); ok {
			t.Errorf("there is a plan %s of the service %s", ids[1], ids[0])
		}
	}
	if s, ok := c.Service("s1"); !ok || s.Name != "one" || !s.AllowContextUpdates || !s.BindingsRetrievable || !s.InstancesRetrievable {
		t.Errorf("service s1 is %+v, %t", s, ok)
	}
	if _, ok := c.Service("p1"); ok {
		t.Error("a plan's id finds a service")
	}
	var plans []string
	for _, p := range c.PlansOf("fake") {
		plans = append(plans, p.ID)
	}
	if diff := cmp.Diff([]string{"p1", "p5", "p3"}, plans); diff != "" {
		t.Errorf("plans of the backend (-want +got):\n%s", diff)
	}
	if got := c.PlansOf("unused"); len(got) != 0 {
		t.Errorf("the unused backend has %d plans", len(got))
	}
	if got := len(c.Services()); got != 2 {
		t.Errorf("there are %d services", got)
	}
}

func TestBackends(t *testing.T) {
	var got []string
	for _, s := range good(t).Servers() {
		text := s.Key() + " " + s.Definition.Name + " " + string(s.Config.JSON())
		if s.Drain || s.Capacity.Limited() {
			text += fmt.Sprint(" ", s.Capacity, s.Drain)
		}
		got = append(got, text)
	}
	want := []string{
		`fake database/fake {"url":"postgres://admin:hunter2hunter2@db:5432/postgres","port":5432,"tls":true,` +
			`"labels":{"a":1,"b":16},"nested":{"words":["one","5432","${PORT}","5432/5432"],"limits":[1,2]}}`,
		`unused queue/plain {"url":"plain"}`,
		`other queue/plain {"url":"plain"}`,
		`pool/first database/fake {"url":"postgres://pool","port":5432,"labels":{"a":1}} {200 500 GB 64 GB} false`,
		`pool/b database/fake {"url":"postgres://admin:hunter2hunter2@db:5432/postgres","labels":{"b":2},"port":5432} {1 1 TB 1 kB} true`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("backends (-want +got):\n%s", diff)
	}
}

func TestPlatforms(t *testing.T) {
	got := good(t).Platforms()
	if len(got) != 1 || got[0].Name != "cf" || got[0].Username != "cloud" || len(got[0].Passwords) != 2 {
		t.Fatalf("platforms: %+v", got)
	}
	for i, name := range []string{"PASSWORD", "DIGITS"} {
		want, _ := environment(name)
		if got[0].Passwords[i].Reveal() != want {
			t.Errorf("password %d is not the value of %s", i, name)
		}
	}
}

func TestDashboard(t *testing.T) {
	p, _ := good(t).Plan("s1", "p1")
	got := p.Dashboard("a/b c?d&e=f#+%2F{instance_id}")
	const id = "a%2Fb%20c%3Fd%26e%3Df%23%2B%252F%7Binstance_id%7D"
	if want := "https://example.com/i/" + id + "?id=" + id; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	p, _ = good(t).Plan("s1", "p2")
	if got := p.Dashboard("x"); got != "" {
		t.Errorf("a plan without a dashboard has %s", got)
	}
}

func TestLastModified(t *testing.T) {
	data, err := os.ReadFile("testdata/good.yml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "catalog.yml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	changed := time.Date(2026, 3, 4, 5, 6, 7, 890, time.FixedZone("CET", 3600))
	if err := os.Chtimes(path, changed, changed); err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Load(path, definitions(), environment)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.LastModified().Format(time.RFC3339Nano); got != "2026-03-04T04:06:07Z" {
		t.Errorf("last modified is %s", got)
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := catalog.Load(filepath.Join(t.TempDir(), "catalog.yml"), definitions(), environment)
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("error is %v", err)
	}
}

// A service of which no plan can change is not advertised as updateable, and a plan
// alone on its backend is not, whatever the file says.
func TestUpdateableIsDerived(t *testing.T) {
	const head = "backends:\n  fake: {type: queue/plain, config: {url: plain}}\n  other: {type: queue/plain, config: {url: plain}}\nservices:\n" +
		"  - {id: s, name: s, description: S, bindable: true, plan_updateable: %s, plans: [\n"
	plan := func(id, backend, more string) string {
		return "      {id: " + id + ", name: " + id + ", description: P, backend: " + backend + more + "},\n"
	}
	for name, test := range map[string]struct {
		service string
		plans   string
		want    []bool // the service, then its plans
	}{
		"alone":                     {"true", plan("a", "fake", ""), []bool{false, false}},
		"alone, and says otherwise": {"true", plan("a", "fake", ", plan_updateable: true"), []bool{false, false}},
		"on two backends":           {"true", plan("a", "fake", "") + plan("b", "other", ""), []bool{false, false, false}},
		"two of three":              {"true", plan("a", "fake", "") + plan("b", "other", "") + plan("c", "fake", ""), []bool{true, true, false, true}},
		"one says no":               {"true", plan("a", "fake", ", plan_updateable: false") + plan("b", "fake", ""), []bool{true, false, true}},
		"the service says no":       {"false", plan("a", "fake", "") + plan("b", "fake", ", plan_updateable: true"), []bool{false, false, true}},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := catalog.Parse("catalog.yml", fmt.Appendf(nil, head+"%s    ]}\n", test.service, test.plans), definitions(), environment)
			if err != nil {
				t.Fatal(err)
			}
			s := c.Services()[0]
			got := []bool{s.PlanUpdateable}
			for _, p := range s.Plans {
				got = append(got, p.Updateable)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckState(t *testing.T) {
	tests := []struct {
		name string
		used []catalog.InUse
		want string
	}{
		{"nothing in use", nil, ""},
		{"all there", []catalog.InUse{{ServiceID: "s1", PlanID: "p1", Server: "default", Instances: 3}, {ServiceID: "s2", PlanID: "p3", Server: "default", Instances: 1}}, ""},
		{"gone without instances", []catalog.InUse{{ServiceID: "s1", PlanID: "old", Server: "default", Instances: 0}}, ""},
		{"gone", []catalog.InUse{{ServiceID: "s1", PlanID: "old", Server: "default", Instances: 2}},
			`testdata/good.yml: services: the plan with id "old" of the service with id "s1" has 2 instance(s), ` +
				"but the file has no such plan; a plan with instances cannot vanish or change its id: " +
				"put it back under this id, or deprovision its instances first"},
		{"in another service", []catalog.InUse{{ServiceID: "s1", PlanID: "p3", Server: "default", Instances: 1}},
			`testdata/good.yml: services: the plan with id "p3" of the service with id "s1" has 1 instance(s), ` +
				`but the file has it in the service "two"; move it back, or give the service its old id again`},
		{"on a server that is gone", []catalog.InUse{{ServiceID: "s1", PlanID: "p1", Server: "b", Instances: 4}},
			`testdata/good.yml: backends.fake: 4 instance(s) of plan "small" are on its server "b", which the catalog does not list; ` +
				"put it back, with drain: true to keep new instances away, until its last one is deleted"},
		{"of before it had servers", []catalog.InUse{{ServiceID: "s1", PlanID: "p4", Server: "default", Instances: 1}},
			`testdata/good.yml: backends.pool: 1 instance(s) of plan "pooled" are on its server "default", which the catalog does not list; ` +
				"that is the one which the backend had before it listed its servers: list it under this name"},
		{"on its backend", []catalog.InUse{{ServiceID: "s1", PlanID: "p1", Backend: "fake", BackendType: "database/fake", Server: "default", Instances: 1}}, ""},
		{"moved to another backend of the same type",
			[]catalog.InUse{{ServiceID: "s1", PlanID: "p1", Backend: "former", BackendType: "database/fake", Server: "default", Instances: 4}},
			`testdata/good.yml: backends.fake: 4 instance(s): made by backend "former" (database/fake), but the catalog has their plan "small" on ` +
				`backend "fake" (database/fake), which cannot revoke or delete them; set the plan's backend to "former" again, ` +
				"and offer the other one under a plan with a new id"},
		{"on a backend that changed its type",
			[]catalog.InUse{{ServiceID: "s1", PlanID: "p1", Backend: "fake", BackendType: "database/other", Server: "default", Instances: 4}},
			`testdata/good.yml: backends.fake: 4 instance(s): made by backend "fake" when its type was database/other, but the catalog gives it type ` +
				"database/fake, which cannot revoke or delete them; give the backend its old type again, and add the new one under another name"},
	}
	c := good(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := ""
			if err := c.CheckState(test.used); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// Instances of a backend that was replaced are those of its successor, and earlier
// releases know the instances that the successor makes.
func TestReplacedBackend(t *testing.T) {
	const text = `
backends: {files: {type: filesystem/volumes, config: {url: x}}}
services:
  - id: s
    name: files
    description: d
    bindable: true
    requires: [volume_mount]
    plans: [{id: p, name: small, description: d, backend: files}]
`
	c, err := catalog.Parse("catalog.yml", []byte(text), definitions(), environment)
	if err != nil {
		t.Fatal(err)
	}
	plan, ok := c.Plan("s", "p")
	if !ok || plan.BackendType != "filesystem/folders" || plan.Family != "filesystem" {
		t.Errorf("recorded for the plan: %+v", plan)
	}
	if err := c.CheckState([]catalog.InUse{{ServiceID: "s", PlanID: "p", Backend: "files", BackendType: "filesystem/folders", Server: "default", Instances: 1}}); err != nil {
		t.Error(err)
	}
}
