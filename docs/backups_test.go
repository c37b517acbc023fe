package docs_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/all"
)

// cf takes the commands of a page as Cloud Foundry's CLI does, and writes the requests that it would
// make, each in a line: the verb, the plan and the parameters.
const cf = `#!/bin/sh
set -eu
refuse() { echo "cf: $*" >&2; exit 1; }
verb=$1 name=; shift
case $verb in
service) [ $# = 2 ] && [ "$2" = --guid ] || refuse "service NAME --guid"; echo "guid-of-$1"; exit;;
create-service) plan=$2 name=${3:-}; [ "$1" = database ] || refuse "no service $1"; shift 3;;
update-service) plan=; name=$1; shift;;
*) refuse "no command $verb";;
esac
case $name in ''|-*) refuse "a name is missing";; esac
[ $# = 2 ] && [ "$1" = -c ] || refuse "$verb: $*"
printf '%s\t%s\t%s\n' "$verb" "$plan" "$2" >> "$REQUESTS"
`

// shipped is the shipped catalog, as a broker with a store of backups reads it.
func shipped(t *testing.T) *catalog.Catalog {
	t.Helper()
	variables := map[string]string{
		"CHANDLER_BACKUPS_ENDPOINT": "https://s3.example.com", "CHANDLER_BACKUPS_BUCKET": "backups",
		"CHANDLER_BACKUPS_ACCESS_KEY_ID": "a", "CHANDLER_BACKUPS_SECRET_ACCESS_KEY": "b",
	}
	files, err := filepath.Glob("../services/*/*/testdata/environment")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
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
	text, err := all.Catalog()
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("catalog.yml", text, all.Definitions(), func(name string) (string, bool) { value, ok := variables[name]; return value, ok })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What application developers are shown is what plans with backups take.
func TestBackupRequests(t *testing.T) {
	page, err := os.ReadFile("backups.md")
	if err != nil {
		t.Fatal(err)
	}
	plans := map[string]*catalog.Plan{}
	for _, s := range shipped(t).Services() {
		for _, p := range s.Plans {
			plans[p.Name] = p
		}
	}
	small := plans["postgres-small"]
	rows := regexp.MustCompile("(?m)^\\| (create|update) \\| `(\\{.*?\\})` \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) != 5 {
		t.Errorf("%d requests in the table", len(rows))
	}
	check := func(verb string, plan *catalog.Plan, parameters string) {
		t.Helper()
		err := plan.CheckCreate(json.RawMessage(parameters))
		if verb == "update" {
			err = plan.CheckUpdate(json.RawMessage(parameters))
		}
		if err != nil {
			t.Errorf("%s %s: %v", verb, parameters, err)
		}
	}
	for _, row := range rows {
		check(row[1], small, row[2])
	}
	bin, requests := t.TempDir(), filepath.Join(t.TempDir(), "requests")
	if err := os.WriteFile(filepath.Join(bin, "cf"), []byte(cf), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "on Cloud Foundry:\n\n```\n")
	text, _, found := strings.Cut(text, "```")
	run := exec.CommandContext(t.Context(), "sh", "-euc", text)
	run.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "REQUESTS="+requests)
	if out, err := run.CombinedOutput(); err != nil || !found {
		t.Fatalf("%v\n%s", err, out)
	}
	made, err := os.ReadFile(requests)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(made)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		plan := small
		if fields[1] != "" {
			plan = plans[fields[1]]
		}
		check(strings.TrimSuffix(fields[0], "-service"), plan, fields[2])
	}
	if !strings.Contains(string(made), `"instance": "guid-of-orders"`) || strings.Count(string(made), "\n") < 2 {
		t.Errorf("the requests are\n%s", made)
	}
}

// The shipped plans have backups exactly where their backend can make them, and time to restore them.
func TestShippedBackups(t *testing.T) {
	c := shipped(t)
	for _, b := range c.Backends() {
		for _, p := range c.PlansOf(b.Name) {
			can := b.Definition.Streams || b.Definition.HoldsBackups
			if (p.Backups != nil) != can {
				t.Errorf("plan %s has the backups %+v, and its backend can make some: %t", p.Name, p.Backups, can)
			}
			if p.Backups != nil && (!p.Backups.Scheduled() || p.Backups.OnDemand == 0 || p.Backups.Verify == 0 || p.Backups.MaxSize == 0 || p.PollingSeconds != 0) {
				t.Errorf("plan %s: %+v, maximum_polling_duration %d", p.Name, p.Backups, p.PollingSeconds)
			}
		}
	}
}
