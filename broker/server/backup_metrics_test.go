package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/all"
)

const withBackups = `
backends: {postgres: {type: database/postgres, config: {url: "${POSTGRES_ADMIN_URL}"}}}
backups: {store: {endpoint: "http://127.0.0.1:1", bucket: backups, access_key_id: a, secret_access_key: b}}
services:
- id: s
  name: database
  description: S
  bindable: true
  plans:
  - {id: p, name: daily, description: P, backend: postgres, backups: {schedule: "0 3 * * 1-5", keep: {last: 7}}}
  - {id: q, name: never, description: P, backend: postgres}
`

// scraped is a server's answer to a scrape.
func scraped(a *Server) string {
	w := httptest.NewRecorder()
	a.metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

// Operators see how old backups are, how many fail, and when one was last restored.
func TestBackupsAreTold(t *testing.T) {
	a := newServer(t, embeddedtest.Database(t))
	defs := all.Definitions()
	for i := range defs {
		defs[i].Streams = true
	}
	var err error
	a.catalog, err = catalog.Parse("catalog.yml", []byte(withBackups), defs, lookupIn(map[string]string{"POSTGRES_ADMIN_URL": "postgres://broker:secret@127.0.0.1:5432/postgres"}))
	if err != nil {
		t.Fatal(err)
	}
	a.settings.Lookup = os.LookupEnv
	a.metrics = newMetrics()
	a.placement = placement.New(placement.Options{Catalog: a.catalog, Store: a.store, Drivers: a.drivers, Logger: slog.New(slog.DiscardHandler)})
	a.metrics.begin(a.catalog)
	a.metrics.watch(a)
	insertBackups(t, a)

	before := scraped(a)
	f := backup.Finished{Copy: store.Copy{Kind: store.CopyVerify}, Backup: store.Backup{ServiceID: "s", PlanID: "p"}, Outcome: store.CopyFailed, Took: time.Minute, Raw: 1000}
	a.copyFinished(f)
	after := scraped(a)
	for _, want := range []string{
		`chandler_copies_total{family="database",kind="verify",outcome="failed",plan="daily"} 0`,
		`chandler_copies_in_progress{kind="restore"} 0`,
		`chandler_copies_failing{kind="restore"} 0`,
		`chandler_copies_in_progress{kind="backup"} 2`,
		`chandler_copies_failing{kind="backup"} 1`,
		`chandler_backups{family="database",plan="daily",state="ready"} 2`,
		`chandler_backups{family="database",plan="daily",state="failed"} 1`,
		`chandler_backup_stored_bytes{family="database",plan="daily"} 600`,
		`chandler_backup_interval_seconds{family="database",plan="daily"} 259200`, // over a weekend
	} {
		if !strings.Contains(before, want+"\n") {
			t.Errorf("missing: %s\n%s", want, before)
		}
	}
	for _, want := range []string{
		`chandler_copies_total{family="database",kind="verify",outcome="failed",plan="daily"} 1`,
		`chandler_copied_bytes_total{family="database",kind="verify",plan="daily"} 1000`,
		`chandler_copy_duration_seconds_sum{family="database",kind="verify",plan="daily"} 60`,
	} {
		if !strings.Contains(after, want+"\n") {
			t.Errorf("missing: %s\n%s", want, after)
		}
	}
	if strings.Contains(after, `plan="never",state`) || strings.Contains(after, `chandler_copies_total{family="database",kind="backup",outcome="failed",plan="never"}`) {
		t.Error("a plan without backups has series of them")
	}
	// Of two instances, the one with a failed backup has gone longest without any.
	for name, want := range map[string]time.Duration{"chandler_backup_age_seconds": 50 * time.Hour, "chandler_backup_verified_seconds": time.Duration(time.Now().Unix()) * time.Second} {
		match := regexp.MustCompile(name + `{family="database",plan="daily"} (\S+)\n`).FindStringSubmatch(after)
		if match == nil {
			t.Errorf("missing: %s\n%s", name, after)
			continue
		}
		value, err := strconv.ParseFloat(match[1], 64)
		if off := value - want.Seconds(); err != nil || off < -60 || off > 60 {
			t.Errorf("%s is %s; want about %s (%v)", name, match[1], want, err)
		}
	}
}

// insertBackups makes two instances, of which one was made 50 hours ago and has a failed backup, and
// the other 90 hours ago and has ready ones, of 40 and 30 hours ago.
func insertBackups(t *testing.T, a *Server) {
	t.Helper()
	for _, id := range []string{"i1", "i2"} {
		_, err := a.store.InsertInstance(t.Context(), a.store.Pool, store.InsertInstanceParams{
			ID: id, Platform: "cf", ServiceID: "s", PlanID: "p", Context: []byte("{}"), Parameters: []byte("{}"), Source: []byte("{}"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for id, instance := range map[string]string{"b1": "i1", "b2": "i2", "b3": "i2"} {
		err := a.store.InsertBackup(t.Context(), a.store.Pool, store.InsertBackupParams{
			ID: id, InstanceID: instance, ResourceName: "r" + instance, Platform: "cf", ServiceID: "s", PlanID: "p", Origin: store.BySchedule, Parameters: []byte("{}"), Object: id,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{
		"update instances set status = 'ready', created_at = now() - interval '50 hours' where id = 'i1'",
		"update instances set status = 'ready', created_at = now() - interval '90 hours' where id = 'i2'",
		"update backups set state = 'failed', created_at = now() - interval '1 hour' where id = 'b1'",
		"update backups set state = 'ready', stored_bytes = 300, created_at = now() - interval '40 hours' where id = 'b2'",
		"update backups set state = 'ready', stored_bytes = 300, created_at = now() - interval '30 hours', verified_at = now() where id = 'b3'",
		"insert into copies (id, kind, backup_id, instance_id, resource_name, server, state, last_error) values ('c1', 'backup', 'b2', 'i1', 'ri1', 's', 'waiting', 'the store is full'), ('c2', 'backup', 'b3', 'i2', 'ri2', 's', 'running', 'the store was full')",
	} {
		if _, err := a.store.Pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}
