package catalog_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/chandler-broker/chandler/broker/backup/schedule"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

func TestBackups(t *testing.T) {
	b := good(t).Backups()
	password, _ := environment("PASSWORD")
	if b.Store.SecretAccessKey.Reveal() != password {
		t.Error("the secret is not the variable's value")
	}
	b.Store.SecretAccessKey = services.Secret{}
	want := catalog.BackupStore{
		Endpoint: "https://s3.example.com", Bucket: "chandler-backups", Region: "us-east-1", Prefix: "production/a", AccessKeyID: "broker",
	}
	if b.Store != want || b.AtOnce != 2 || b.Recipient.String() != b.RecipientText {
		t.Errorf("backups: %+v", b)
	}
	none, err := catalog.Load("testdata/none.yml", definitions(), environment)
	if err != nil || none.Backups() != nil {
		t.Errorf("a file without the section has %+v: %v", none.Backups(), err)
	}
}

func TestPlanBackups(t *testing.T) {
	plans := map[string]*catalog.PlanBackups{}
	c := good(t)
	for _, s := range c.Services() {
		for _, p := range s.Plans {
			plans[p.ID] = p.Backups
		}
	}
	scheduled, onDemand := plans["p1"], plans["p4"]
	want := &catalog.PlanBackups{
		Schedule: "15 3 * * *", TimeZone: "Europe/Berlin", Keep: schedule.Keep{Last: 7, Daily: 5, Weekly: 4},
		OnDemand: 5, Verify: 168 * time.Hour, AfterDelete: 240 * time.Hour, MaxSize: 100 * services.Gigabyte,
	}
	unexported := cmpopts.IgnoreUnexported(catalog.PlanBackups{})
	if diff := cmp.Diff(want, scheduled, unexported); diff != "" {
		t.Errorf("a schedule (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(&catalog.PlanBackups{OnDemand: 1, AfterDelete: 720 * time.Hour}, onDemand, unexported); diff != "" {
		t.Errorf("on demand (-want +got):\n%s", diff)
	}
	if plans["p2"] != nil {
		t.Error("a plan without the key has backups")
	}

	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	begin := time.Date(2026, 6, 1, 1, 15, 0, 0, time.UTC) // 03:15 in Berlin
	if next := scheduled.Next(now, "i"); !scheduled.Scheduled() || next.Before(begin) || !next.Before(begin.Add(time.Hour)) {
		t.Errorf("the next backup is due at %s", next)
	}
	if next := onDemand.Next(now, "i"); onDemand.Scheduled() || !next.IsZero() {
		t.Errorf("without a schedule, the next backup is due at %s", next)
	}
	var made []time.Time
	for day := range 60 {
		made = append(made, now.AddDate(0, 0, -day))
	}
	if expired := scheduled.Expired(made); len(expired) != 60-7-2 { // two weeks' newest are among the last
		t.Errorf("%d expire of 60", len(expired))
	}
}

// A change of the section takes effect at the next start.
func TestPendingBackups(t *testing.T) {
	text := func(bucket, schedule string) []byte {
		return []byte("backends: {fake: {type: database/fake, config: {url: u}}}\n" +
			"backups: {store: {endpoint: 'http://s3', bucket: " + bucket + ", access_key_id: a, secret_access_key: b}}\n" +
			"services: [{id: s, name: s, description: S, bindable: true, plans: [{id: p, name: p, description: P, backend: fake, " +
			"backups: {schedule: '" + schedule + "', time_zone: Europe/Berlin, keep: {last: 1}}}]}]\n")
	}
	parse := func(bucket, schedule string) *catalog.Catalog {
		c, err := catalog.Parse("catalog.yml", text(bucket, schedule), definitions(), environment)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := parse("one", "0 0 * * *")
	for name, c := range map[string]struct {
		next *catalog.Catalog
		want []string
	}{
		"the same":         {parse("one", "0 0 * * *"), nil},
		"another bucket":   {parse("two", "0 0 * * *"), []string{"backups"}},
		"another schedule": {parse("one", "1 0 * * *"), []string{"services"}},
	} {
		if diff := cmp.Diff(c.want, first.Pending(c.next)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A file without the section takes the store from the environment.
func TestBackupsOfTheEnvironment(t *testing.T) {
	const text = "backends: {fake: {type: database/fake, config: {url: u}}}\n" +
		"services: [{id: s, name: s, description: S, bindable: true, plans: [{id: p, name: p, description: P, backend: fake, backups: {on_demand: 1}}]}]\n"
	variables := map[string]string{
		"CHANDLER_BACKUPS_ENDPOINT": "http://127.0.0.1:7070", "CHANDLER_BACKUPS_BUCKET": "backups",
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": "broker", "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": "hunter2",
	}
	parse := func(changes ...string) (*catalog.Catalog, error) {
		return catalog.Parse("catalog.yml", []byte(text), definitions(), func(name string) (string, bool) {
			for i := 0; i < len(changes); i += 2 {
				if name == "CHANDLER_BACKUPS_"+changes[i] {
					return changes[i+1], true
				}
			}
			value, ok := variables[name]
			return value, ok
		})
	}
	c, err := parse()
	if err != nil {
		t.Fatal(err)
	}
	b := c.Backups()
	if b.Store.Endpoint != "http://127.0.0.1:7070" || b.Store.SecretAccessKey.Reveal() != "hunter2" || b.Store.Region != "us-east-1" || b.AtOnce != 2 {
		t.Errorf("backups: %+v", b)
	}
	for change, want := range map[[2]string]string{
		{"ENDPOINT", ""}:                "services[0].plans[0].backups: the file does not say where backups are stored",
		{"ENDPOINT", "hunter2"}:         "CHANDLER_BACKUPS_ENDPOINT must be http://host:port",
		{"BUCKET", ""}:                  "CHANDLER_BACKUPS_BUCKET must be the name of a bucket",
		{"SECRET_ACCESS_KEY", ""}:       "CHANDLER_BACKUPS_SECRET_ACCESS_KEY is not set",
		{"RECIPIENT", "age1hunter2"}:    "CHANDLER_BACKUPS_RECIPIENT must be a public key",
		{"PREFIX", "../hunter2"}:        "CHANDLER_BACKUPS_PREFIX must be a path",
		{"REGION", "the moon, hunter2"}: "CHANDLER_BACKUPS_REGION must be the store's region",
	} {
		_, err := parse(change[0], change[1])
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v; want %q", change, err, want)
		} else {
			keepsSecrets(t, err)
		}
	}
}
