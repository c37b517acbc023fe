package server

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/functions/openwhisk"
)

// metrics are by plan and namespace. The series of idle namespaces are dropped, so that
// they take no memory; Prometheus sees a counter that was reset.
type metrics struct {
	results     *prometheus.CounterVec
	activations *prometheus.CounterVec
	errors      *prometheus.CounterVec
	starts      *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	waits       *prometheus.HistogramVec
	inits       *prometheus.HistogramVec

	mu   sync.Mutex
	seen map[string]time.Time // when a namespace was last called
}

func newMetrics(registry prometheus.Registerer) (*metrics, error) {
	namespaced := []string{"plan", "namespace"}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chandler_functions_" + name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chandler_functions_" + name, Help: help,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 300},
		}, labels)
	}
	m := &metrics{
		results:     counter("results_total", "Activations of all namespaces that ended, by status as OpenWhisk has it.", "status"),
		activations: counter("activations_total", "Activations that ended, by plan, namespace and status as OpenWhisk has it.", "plan", "namespace", "status"),
		errors:      counter("errors_total", "Activations that ended other than in success, by plan and namespace.", namespaced...),
		starts:      counter("starts_total", "Runs of code, by plan, namespace and start: cold (it was compiled or loaded first) or warm.", "plan", "namespace", "start"),
		durations:   histogram("duration_seconds", "How long code ran, by plan and namespace.", namespaced...),
		waits:       histogram("wait_seconds", "How long activations waited for a worker, by plan.", "plan"),
		inits:       histogram("init_seconds", "How long cold starts compiled or loaded code, by plan.", "plan"),
		seen:        map[string]time.Time{},
	}
	for _, c := range []prometheus.Collector{m.results, m.activations, m.errors, m.starts, m.durations, m.waits, m.inits} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	for _, status := range openwhisk.Statuses() {
		m.results.WithLabelValues(status) // from 0 on, so that alerts see the first increase
	}
	return m, nil
}

// observe counts an activation that ended.
func (m *metrics) observe(o openwhisk.Observation) {
	m.mu.Lock()
	defer m.mu.Unlock() // nothing is counted while series are dropped
	m.seen[o.Namespace] = time.Now()
	m.results.WithLabelValues(o.Status).Inc()
	m.activations.WithLabelValues(o.Plan, o.Namespace, o.Status).Inc()
	if o.Status != "success" {
		m.errors.WithLabelValues(o.Plan, o.Namespace).Inc()
	}
	if !o.Ran {
		return
	}
	start := "warm"
	if o.Cold {
		start = "cold"
		m.inits.WithLabelValues(o.Plan).Observe(o.Init.Seconds())
	}
	m.starts.WithLabelValues(o.Plan, o.Namespace, start).Inc()
	m.durations.WithLabelValues(o.Plan, o.Namespace).Observe(o.Duration.Seconds())
	m.waits.WithLabelValues(o.Plan).Observe(o.Wait.Seconds())
}

// forget drops the series of namespaces that were not called for so long.
func (m *metrics) forget(idle time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for namespace, last := range m.seen {
		if time.Since(last) >= idle {
			m.drop(namespace)
		}
	}
}

// ended drops the series of a deleted namespace.
func (m *metrics) ended(namespace string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(namespace)
}

func (m *metrics) drop(namespace string) {
	delete(m.seen, namespace)
	of := prometheus.Labels{"namespace": namespace}
	m.activations.DeletePartialMatch(of)
	m.errors.DeletePartialMatch(of)
	m.starts.DeletePartialMatch(of)
	m.durations.DeletePartialMatch(of)
}
