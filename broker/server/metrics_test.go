package server

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

// Tests of the alerts and the dashboard read this list of the metrics that the broker
// serves.
const brokerMetrics = "../../deploy/monitoring/chandler.metrics"

var update = flag.Bool("update", false, "write what the tests find to the files that they compare it with, for review")

// compareMetrics compares a registry's metrics and their labels with a list.
func compareMetrics(t *testing.T, file string, registry *prometheus.Registry) {
	t.Helper()
	descriptions := make(chan *prometheus.Desc)
	go func() { registry.Describe(descriptions); close(descriptions) }()
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
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: run this test with -update (-want +got):\n%s", file, diff)
	}
}

func TestBrokerMetrics(t *testing.T) {
	m := newMetrics()
	m.watch(&Server{})
	compareMetrics(t, brokerMetrics, m.registry)
}

// Everything that alerts count is there at 0 before it happens: of a series that is
// born at 1 Prometheus sees no increase.
func TestSeriesBeginAtZero(t *testing.T) {
	text, err := all.Catalog("database/postgres")
	if err != nil {
		t.Fatal(err)
	}
	c, err := catalog.Parse("catalog.yml", text, all.Definitions(), lookupIn(map[string]string{"POSTGRES_ADMIN_URL": "postgres://broker:secret@127.0.0.1:5432/postgres"}))
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	m.begin(c)
	before := seriesOf(t, m)
	for _, series := range []prometheus.Metric{
		m.operations.WithLabelValues("database", "postgres-small", string(store.Bind), string(store.OutcomeTimedOut)),
		m.operations.WithLabelValues("database", "postgres-medium", string(store.Deprovision), string(store.OutcomeCancelled)),
		m.requests.WithLabelValues("/v2/service_instances/{instance_id}", http.MethodPut, "500"),
		m.refusals.WithLabelValues(platformClients, "password"),
	} {
		var value dto.Metric
		if err := series.Write(&value); err != nil || value.GetCounter().GetValue() != 0 {
			t.Errorf("%s: %v, %v", series.Desc(), &value, err)
		}
	}
	if after := seriesOf(t, m); after != before {
		t.Errorf("%d series began late", after-before)
	}
}

// Conditions are counted by server and reason, and are there at 0.
func TestConditionsAreTold(t *testing.T) {
	a := newServer(t, embeddedtest.Database(t))
	a.settings.Lookup = os.LookupEnv
	a.metrics = newMetrics()
	a.placement = placement.New(placement.Options{Catalog: a.catalog, Store: a.store, Drivers: a.drivers, Logger: slog.New(slog.DiscardHandler)})
	a.metrics.watch(a)
	service := a.catalog.Services()[0]
	for i, reason := range []services.Reason{services.Inaccessible, services.Inaccessible, ""} {
		id := fmt.Sprint("i", i)
		_, err := a.store.InsertInstance(t.Context(), a.store.Pool, store.InsertInstanceParams{
			ID: id, Platform: "cf", ServiceID: service.ID, PlanID: service.Plans[0].ID, Context: []byte("{}"), Parameters: []byte("{}"),
		})
		set := store.SetConditionsParams{Ids: []string{id}, Conditions: []string{"a condition"}, Reasons: []string{string(reason)}}
		if err := errors.Join(err, a.store.SetConditions(t.Context(), a.store.Pool, set)); err != nil {
			t.Fatal(err)
		}
	}
	w := httptest.NewRecorder()
	a.metrics.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`chandler_instance_conditions{reason="inaccessible",server="postgres"} 2`,
		`chandler_instance_conditions{reason="over_quota",server="postgres"} 0`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("missing: %s\n%s", want, w.Body)
		}
	}
}

// seriesOf counts the series that there are.
func seriesOf(t *testing.T, m *metrics) (n int) {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		n += len(f.GetMetric())
	}
	return n
}
