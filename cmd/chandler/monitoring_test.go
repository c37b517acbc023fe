package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/state"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/all"
)

const (
	alerts    = "../../deploy/helm/chandler/alerts.yml"
	dashboard = "../../deploy/monitoring/dashboard.json"
)

// told are the metrics that brokers and runtimes of functions tell, with their
// labels.
func told(t *testing.T) map[string][]string {
	t.Helper()
	s, err := readFunctionsSettings(lookupIn(map[string]string{
		"FUNCTIONS_DATABASE_URL": embeddedtest.Database(t), "FUNCTIONS_KEY": state.GenerateKey(), "FUNCTIONS_CACHE": t.TempDir(), "FUNCTIONS_WORKERS": "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	f, err := openFunctions(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.runtime.Close(); err != nil {
			t.Error(err)
		}
	}()
	m := newMetrics()
	m.watch(&app{})
	described := regexp.MustCompile(`^Desc\{fqName: "([^"]+)".*variableLabels: \{([^}]*)\}\}$`)
	metrics := map[string][]string{}
	for _, registry := range []*prometheus.Registry{m.registry, f.registry} {
		descriptions := make(chan *prometheus.Desc)
		go func() { registry.Describe(descriptions); close(descriptions) }()
		for d := range descriptions {
			match := described.FindStringSubmatch(d.String())
			if match == nil {
				t.Fatalf("%s", d)
			}
			metrics[match[1]] = append(strings.Split(match[2], ","), "instance", "job")
		}
	}
	return metrics
}

// check finds what an expression asks for that nobody tells, and returns the
// labels of its result.
func checkExpression(t *testing.T, where, text string, metrics map[string][]string) (by []string) {
	t.Helper()
	expr, err := parser.ParseExpr(strings.ReplaceAll(text, "$__rate_interval", "5m"))
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return nil
	}
	var labels []string // of the selectors in it
	selectors := 0
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		selectors++
		known, ok := metrics[selector.Name]
		if base, bucket := strings.CutSuffix(selector.Name, "_bucket"); !ok && bucket {
			known, ok = metrics[base], metrics[base] != nil
			known = append(slices.Clone(known), "le")
		}
		if !ok {
			t.Errorf("%s: nobody tells %s", where, selector.Name)
		}
		for _, m := range selector.LabelMatchers {
			if m.Name != model.MetricNameLabel && !slices.Contains(known, m.Name) {
				t.Errorf("%s: %s has no label %s", where, selector.Name, m.Name)
			}
		}
		labels = append(labels, known...)
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			by = append(by, aggregate.Grouping...)
			for _, label := range aggregate.Grouping {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: what it sums has no label %s", where, label)
				}
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s asks for nothing", where)
	}
	if by == nil {
		return labels
	}
	return by
}

// The alerts and the dashboard ask for metrics and labels that there are.
func TestMonitoring(t *testing.T) {
	metrics := told(t)
	if len(metrics["chandler_ready"]) == 0 || len(metrics["chandler_functions_wait_seconds"]) == 0 || len(metrics["go_goroutines"]) == 0 {
		t.Fatalf("not all metrics are found: %v", metrics)
	}
	asked := ""
	groups, errs := rulefmt.ParseFile(alerts, false)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	label := regexp.MustCompile(`\$labels\.([a-z_]+)`)
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			by := checkExpression(t, rule.Alert, rule.Expr, metrics)
			asked += rule.Expr
			if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" {
				t.Errorf("%s: summary, description or severity is missing", rule.Alert)
			}
			for _, match := range label.FindAllStringSubmatch(rule.Annotations["summary"]+rule.Annotations["description"], -1) {
				if !slices.Contains(by, match[1]) {
					t.Errorf("%s: its text has the label %s, its expression has not", rule.Alert, match[1])
				}
			}
		}
	}

	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Type    string
			Targets []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	legend, seen := regexp.MustCompile(`\{\{([a-z_]+)\}\}`), map[int]bool{}
	for _, panel := range dashboard.Panels {
		if seen[panel.ID] || panel.Type != "row" && len(panel.Targets) == 0 {
			t.Errorf("panel %q: its ID is another's, or it shows nothing", panel.Title)
		}
		seen[panel.ID] = true
		for _, target := range panel.Targets {
			by := checkExpression(t, "panel "+panel.Title, target.Expr, metrics)
			asked += target.Expr
			for _, match := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(by, match[1]) {
					t.Errorf("panel %q: its legend has the label %s, its expression has not", panel.Title, match[1])
				}
			}
		}
	}
	for name := range metrics {
		if strings.HasPrefix(name, "chandler_") && !strings.Contains(asked, name) {
			t.Errorf("%s is told, and neither alert nor dashboard asks for it", name)
		}
	}
}

// Everything that alerts count is there at 0 before it happens: of a series that is
// born at 1 Prometheus sees no increase.
func TestSeriesBeginAtZero(t *testing.T) {
	c, err := catalog.Load(filepath.Join("..", "..", "catalog.yml"), all.Definitions(), lookupIn(map[string]string{"POSTGRES_ADMIN_URL": "postgres://broker:secret@127.0.0.1:5432/postgres"}),
		"database/mysql", "queue/nats", "queue/rabbitmq", "dns/powerdns", "filesystem/s3", "filesystem/smb", "function/wasm")
	if err != nil {
		t.Fatal(err)
	}
	m := newMetrics()
	m.begin(c)
	before := seriesOf(t, m)
	for _, series := range []prometheus.Metric{
		m.operations.WithLabelValues("database", "postgres-small", store.Bind, store.TimedOut),
		m.operations.WithLabelValues("database", "postgres-medium", store.Deprovision, store.Cancelled),
		m.requests.WithLabelValues("/v2/service_instances/{instance_id}", http.MethodPut, "500"),
		m.refusals.WithLabelValues(platformDoor, "password"),
	} {
		var value dto.Metric
		if err := series.Write(&value); err != nil || value.GetCounter().GetValue() != 0 {
			t.Errorf("%s: %v, %v", series.Desc(), &value, err)
		}
	}
	if after := seriesOf(t, m); after != before {
		t.Errorf("%d series were born late", after-before)
	}
}

// Conditions are counted by server and reason, and are there at 0.
func TestConditionsAreTold(t *testing.T) {
	a := openState(t, embeddedtest.Database(t), silent{})
	a.settings.lookup = os.LookupEnv
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
			t.Errorf("not told: %s\n%s", want, w.Body)
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
