package server

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/functions/openwhisk"
)

// Activations are counted by plan and namespace, and a namespace that ended, or
// that nobody calls, takes no series.
func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m, err := newMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []openwhisk.Observation{
		{Namespace: "a", Plan: "p", Status: "success", Ran: true, Cold: true, Init: time.Second, Duration: 2 * time.Millisecond},
		{Namespace: "a", Plan: "p", Status: "success", Ran: true, Duration: 2 * time.Millisecond},
		{Namespace: "a", Plan: "p", Status: "application error", Ran: true},
		{Namespace: "b", Plan: "q", Status: "success"},
	} {
		m.observe(o)
	}
	// These are there from the beginning, and stay when a namespace goes.
	results := []string{
		`results_total{status=action developer error} 0`, `results_total{status=application error} 1`,
		`results_total{status=success} 3`, `results_total{status=whisk internal error} 0`,
	}
	expect := func(want ...string) {
		t.Helper()
		want = slices.Sorted(slices.Values(append(want, results...)))
		if diff := cmp.Diff(want, counted(t, registry), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	b := []string{`activations_total{namespace=b,plan=q,status=success} 1`}
	expect(
		`activations_total{namespace=a,plan=p,status=application error} 1`,
		`activations_total{namespace=a,plan=p,status=success} 2`,
		b[0],
		`duration_seconds{namespace=a,plan=p} 3`,
		`errors_total{namespace=a,plan=p} 1`,
		`init_seconds{plan=p} 1`,
		`starts_total{namespace=a,plan=p,start=cold} 1`,
		`starts_total{namespace=a,plan=p,start=warm} 2`,
		`wait_seconds{plan=p} 3`,
	)
	plans := []string{`init_seconds{plan=p} 1`, `wait_seconds{plan=p} 3`}
	m.ended("a")
	m.ended("never seen")
	expect(append(b, plans...)...)
	m.forget(time.Hour)
	expect(append(b, plans...)...)
	m.forget(0)
	expect(plans...)
	if len(m.seen) != 0 {
		t.Errorf("remembered: %v", m.seen)
	}
}

// counted are all counts of a registry: those of counters and of histograms.
func counted(t *testing.T, registry *prometheus.Registry) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			var labels []string
			for _, label := range metric.GetLabel() {
				labels = append(labels, label.GetName()+"="+label.GetValue())
			}
			n := metric.GetCounter().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			name := strings.TrimPrefix(family.GetName(), "chandler_functions_")
			all = append(all, fmt.Sprintf("%s{%s} %v", name, strings.Join(labels, ","), n))
		}
	}
	slices.Sort(all)
	return all
}
