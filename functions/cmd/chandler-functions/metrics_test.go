package main

import (
	"flag"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
)

// metricsList is what tests of the alerts and the dashboard know of the metrics.
const metricsList = "../../../deploy/monitoring/chandler-functions.metrics"

var update = flag.Bool("update", false, "write what the tests find to the files that they compare it with, for review")

func TestMetrics(t *testing.T) {
	s, err := readSettings(lookupIn(map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(), "FUNCTIONS_WORKERS": "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	p, err := open(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	descriptions := make(chan *prometheus.Desc)
	go func() { p.registry.Describe(descriptions); close(descriptions) }()
	described := regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*variableLabels: \{([^}]*)\}\}$`)
	var lines []string
	for d := range descriptions {
		match := described.FindStringSubmatch(d.String())
		if match == nil {
			t.Fatalf("%s", d)
		}
		if !strings.HasPrefix(match[1], "go_") || match[1] == "go_goroutines" { // the others change with Go's versions
			lines = append(lines, match[1]+"{"+match[2]+"}\n")
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "")
	if *update {
		if err := os.WriteFile(metricsList, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(metricsList)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("run this test with -update (-want +got):\n%s", diff)
	}
}
