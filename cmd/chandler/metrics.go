package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chandler-broker/chandler/broker/store"
)

// metrics is what /metrics tells.
type metrics struct {
	registry        *prometheus.Registry
	requests        *prometheus.CounterVec
	requestTimes    *prometheus.HistogramVec
	operations      *prometheus.CounterVec
	operationsTimes *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chandler_http_requests_total", Help: "Requests of the Open Service Broker API by route, method and status code.",
		}, []string{"route", "method", "code"}),
		requestTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chandler_http_request_duration_seconds", Help: "How long requests took, by route and method.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 3, 10, 50},
		}, []string{"route", "method"}),
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chandler_operations_total", Help: "Operations that this replica ended, by family, plan, kind and outcome.",
		}, []string{"family", "plan", "kind", "outcome"}),
		operationsTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "chandler_operation_duration_seconds", Help: "From the acceptance of an operation to its end, by family, plan and kind.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 5, 30, 120, 600, 3600},
		}, []string{"family", "plan", "kind"}),
	}
	m.registry.MustRegister(m.requests, m.requestTimes, m.operations, m.operationsTimes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) request(route, method string, code int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(code)).Inc()
	m.requestTimes.WithLabelValues(route, method).Observe(took.Seconds())
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

func (a *app) operationFinished(op store.Operation) {
	family, name := a.planLabels(op.ServiceID, op.PlanID)
	a.metrics.operations.WithLabelValues(family, name, op.Kind, op.Outcome).Inc()
	a.metrics.operationsTimes.WithLabelValues(family, name, op.Kind).Observe(time.Since(op.CreatedAt).Seconds())
}

func (a *app) planLabels(serviceID, planID string) (family, name string) {
	if p, ok := a.catalog.Plan(serviceID, planID); ok {
		return p.Family, p.Name
	}
	return "unknown", "unknown"
}

// watch adds what is asked for when the metrics are read.
func (m *metrics) watch(a *app) { m.registry.MustRegister(&stateCollector{app: a}) }

// stateCollector reads the state and the parts' health at each scrape.
type stateCollector struct{ app *app }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

func queueDesc() *prometheus.Desc {
	return desc("chandler_operations_in_progress", "Unfinished operations in the state, by kind.", "kind")
}

func instancesDesc() *prometheus.Desc {
	return desc("chandler_instances", "Instances in the state, by family and plan.", "family", "plan")
}

func readyDesc() *prometheus.Desc {
	return desc("chandler_ready", "1 where the part answers: the state database, the credential store and each backend.", "part")
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	out <- queueDesc()
	out <- instancesDesc()
	out <- readyDesc()
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, p := range c.app.checkReady(ctx).Parts {
		value := 0.0
		if p.Ready {
			value = 1
		}
		gauge(readyDesc(), value, p.Name)
	}
	unfinished, err := c.app.store.CountUnfinished(ctx, c.app.store.Pool)
	if err != nil {
		return // chandler_ready tells
	}
	counts := map[string]float64{store.Provision: 0, store.Update: 0, store.Deprovision: 0, store.Bind: 0, store.Unbind: 0}
	for _, u := range unfinished {
		counts[u.Kind] = float64(u.Operations)
	}
	for kind, n := range counts {
		gauge(queueDesc(), n, kind)
	}
	used, err := c.app.store.PlansInUse(ctx, c.app.store.Pool)
	if err != nil {
		return
	}
	for _, u := range used {
		family, name := c.app.planLabels(u.ServiceID, u.PlanID)
		gauge(instancesDesc(), float64(u.Instances), family, name)
	}
}
