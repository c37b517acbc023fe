package deploy_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	alerts     = chartFolder + "/alerts.yml"
	monitoring = "../../deploy/monitoring"
)

// served reads the lists of all programs' metrics, with their labels. Prometheus
// adds the labels instance and job.
func served(t *testing.T) map[string][]string {
	t.Helper()
	lists, err := filepath.Glob(filepath.Join(monitoring, "*.metrics"))
	if err != nil || len(lists) < 2 {
		t.Fatalf("%v: %v", lists, err)
	}
	metrics := map[string][]string{}
	for _, list := range lists {
		for line := range strings.Lines(string(read(t, list))) {
			name, labels, ok := strings.Cut(strings.TrimSuffix(line, "}\n"), "{")
			if !ok {
				t.Fatalf("%s: %q", list, line)
			}
			metrics[name] = append(strings.Split(labels, ","), "instance", "job")
		}
	}
	return metrics
}

// checkExpression reports the metrics and labels of an expression that no program
// serves, and returns the labels of its result.
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
			t.Errorf("%s: no program serves %s", where, selector.Name)
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
					t.Errorf("%s: the aggregated series have no label %s", where, label)
				}
			}
		}
		return nil
	})
	if selectors == 0 {
		t.Errorf("%s has no selector", where)
	}
	if by == nil {
		return labels
	}
	return by
}

// Alerts and dashboard use metrics and labels that the programs serve, and every
// metric of Chandler is in one of them.
func TestMonitoring(t *testing.T) {
	metrics := served(t)
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
					t.Errorf("%s: its text uses the label %s, which its expression lacks", rule.Alert, match[1])
				}
			}
		}
	}

	text, err := os.ReadFile(filepath.Join(monitoring, "dashboard.json"))
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
			t.Errorf("panel %q: its ID is not unique, or it has no target", panel.Title)
		}
		seen[panel.ID] = true
		for _, target := range panel.Targets {
			by := checkExpression(t, "panel "+panel.Title, target.Expr, metrics)
			asked += target.Expr
			for _, match := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(by, match[1]) {
					t.Errorf("panel %q: its legend uses the label %s, which its expression lacks", panel.Title, match[1])
				}
			}
		}
	}
	for name := range metrics {
		if strings.HasPrefix(name, "chandler_") && !strings.Contains(asked, name) {
			t.Errorf("%s is in no alert and not in the dashboard", name)
		}
	}
}
