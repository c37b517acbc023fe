package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/broker/store"
)

// metrics are those that the broker counts. A scraper computes the others.
type metrics struct {
	registry                       *prometheus.Registry
	requests, operations, refusals *prometheus.CounterVec
	requestTimes, operationTimes   *prometheus.HistogramVec
	copies, copiedBytes            *prometheus.CounterVec
	copyTimes                      *prometheus.HistogramVec
	clientsCurrent, administrators prometheus.Gauge
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	flag := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("chandler_http_requests_total", "Requests of the Open Service Broker API by route, method and status code.", "route", "method", "code"),
		requestTimes: histogram("chandler_http_request_duration_seconds", "Durations of requests, by route and method.",
			[]float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 3, 10, 50}, "route", "method"),
		operations: counter("chandler_operations_total", "Operations that this replica ended, by family, plan, kind and outcome.", "family", "plan", "kind", "outcome"),
		operationTimes: histogram("chandler_operation_duration_seconds", "Times from the acceptance of operations to their end, by family, plan and kind.",
			[]float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120, 600, 3600}, "family", "plan", "kind"),
		copies:      counter("chandler_copies_total", "Backups, restores and verifications that this replica ended, by family, plan, kind and outcome.", "family", "plan", "kind", "outcome"),
		copiedBytes: counter("chandler_copied_bytes_total", "Bytes that copies have read or written, before compression, by family, plan and kind.", "family", "plan", "kind"),
		copyTimes: histogram("chandler_copy_duration_seconds", "Durations of the last attempts of copies, by family, plan and kind.",
			[]float64{.1, .5, 1, 5, 30, 120, 600, 3600, 4 * 3600, 24 * 3600}, "family", "plan", "kind"),
		refusals:       counter("chandler_authentication_refusals_total", "Requests without valid credentials, by door (platform, operator) and reason.", "door", "reason"),
		clientsCurrent: flag("chandler_clients_reloaded", "0 if the catalog's clients, or files that they name, have changed and are invalid: those of before stay."),
		administrators: flag("chandler_administrators_current", "0 if the credential store's administrators' credentials cannot be read or used: those of before stay."),
	}
	setFlag(m.administrators, true)
	m.registry.MustRegister(m.administrators, m.refusals, m.clientsCurrent, m.requests, m.requestTimes, m.operations, m.operationTimes,
		m.copies, m.copiedBytes, m.copyTimes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func setFlag(g prometheus.Gauge, ok bool) { g.Set(flagValue(ok)) }

func flagValue(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}

// begin makes all series of events, at 0. Prometheus sees an increase between two values of a
// series: one that begins at 1 hides its first event from every alert.
func (m *metrics) begin(c *catalog.Catalog) {
	for _, s := range c.Services() {
		for _, p := range s.Plans {
			m.beginPlan(p)
		}
	}
	osb.Expected(func(route, method string, code int) {
		m.requests.WithLabelValues(route, method, strconv.Itoa(code))
		m.requestTimes.WithLabelValues(route, method)
	})
	for _, clients := range []string{platformClients, operatorClients} {
		for _, reason := range auth.Reasons() {
			m.refusals.WithLabelValues(clients, reason)
		}
	}
}

func (m *metrics) beginPlan(p *catalog.Plan) {
	for _, kind := range kindsOf(p) {
		m.operationTimes.WithLabelValues(p.Family, p.Name, string(kind))
		for _, outcome := range store.Outcomes() {
			m.operations.WithLabelValues(p.Family, p.Name, string(kind), string(outcome))
		}
	}
	if p.Backups != nil {
		m.beginCopies(p)
	}
}

// kindsOf are the kinds of operations that a plan's instances can have.
func kindsOf(p *catalog.Plan) []store.Kind {
	kinds := []store.Kind{store.Provision, store.Update, store.Deprovision}
	if p.KeepDeleted > 0 {
		kinds = append(kinds, store.SoftDelete)
	}
	if p.Bindable {
		kinds = append(kinds, store.Bind, store.Unbind)
	}
	if p.BindingLifetime > 0 {
		kinds = append(kinds, store.Expire)
	}
	return kinds
}

func (m *metrics) request(route, method string, code int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.requestTimes.WithLabelValues(route, method).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// watch adds the metrics that are computed at each scrape.
func (m *metrics) watch(s *Server) {
	m.registry.MustRegister(newScraper(s.collectReadiness, s.collectCertificates, s.collectOperations, s.collectInstances, s.collectServers, s.collectConditions, s.collectBackups, s.collectCopies))
}

func (s *Server) operationFinished(op store.Operation) {
	family, name := s.planLabels(op.ServiceID, op.PlanID)
	s.metrics.operations.WithLabelValues(family, name, string(op.Kind), string(op.Outcome)).Inc()
	s.metrics.operationTimes.WithLabelValues(family, name, string(op.Kind)).Observe(time.Since(op.CreatedAt).Seconds())
}

func (s *Server) planLabels(serviceID, planID string) (family, name string) {
	if p, ok := s.catalog.Plan(serviceID, planID); ok {
		return p.Family, p.Name
	}
	return "unknown", "unknown"
}
