package main

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/chandler-broker/chandler/broker/auth"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// metrics is what /metrics tells.
type metrics struct {
	registry        *prometheus.Registry
	requests        *prometheus.CounterVec
	requestTimes    *prometheus.HistogramVec
	operations      *prometheus.CounterVec
	operationsTimes *prometheus.HistogramVec
	refusals        *prometheus.CounterVec
	clientsFresh    prometheus.Gauge
	administrators  prometheus.Gauge
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
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "chandler_authentication_refusals_total", Help: "Requests without good credentials, by door (platform, operator) and reason.",
		}, []string{"door", "reason"}),
		clientsFresh: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "chandler_clients_reloaded", Help: "0 where the catalog's clients, or files that they name, have changed and cannot be used: those of before stay.",
		}),
	}
	m.administrators = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "chandler_administrators_current", Help: "0 where what the credential store has for administering backends cannot be read or used: what was before stays.",
	})
	m.administrators.Set(1)
	m.registry.MustRegister(m.administrators, m.refusals, m.clientsFresh, m.requests, m.requestTimes, m.operations, m.operationsTimes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// begin makes the series of everything that can happen at 0. Prometheus sees an
// increase between two values of a series: one that is born at 1 hides the first
// event from every alert, and for a plan that is rarely used that is all of them.
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
	for _, door := range []string{platformDoor, operatorDoor} {
		for _, reason := range auth.Reasons() {
			m.refusals.WithLabelValues(door, reason)
		}
	}
}

func (m *metrics) beginPlan(p *catalog.Plan) {
	for _, kind := range kindsOf(p) {
		m.operationsTimes.WithLabelValues(p.Family, p.Name, kind)
		for _, outcome := range []string{store.Succeeded, store.Rejected, store.TimedOut, store.Cancelled, store.Preempted} {
			m.operations.WithLabelValues(p.Family, p.Name, kind, outcome)
		}
	}
}

// kindsOf are the kinds of operations that a plan's instances can have.
func kindsOf(p *catalog.Plan) []string {
	kinds := []string{store.Provision, store.Update, store.Deprovision}
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

func (m *metrics) refused(door, reason string) { m.refusals.WithLabelValues(door, reason).Inc() }

func (m *metrics) clientsReloaded(ok bool) {
	m.clientsFresh.Set(0)
	if ok {
		m.clientsFresh.Set(1)
	}
}

func (m *metrics) administratorsCurrent(ok bool) {
	m.administrators.Set(0)
	if ok {
		m.administrators.Set(1)
	}
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
func (m *metrics) watch(a *app) {
	m.registry.MustRegister(&stateCollector{app: a}, certificateCollector{"chandler_certificate_not_after_seconds", a.certificates})
}

// stateCollector reads the state, and the parts' latest health, at each scrape.
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

func serverInstancesDesc() *prometheus.Desc {
	return desc("chandler_server_instances", "Instances on the server of a backend; a server is backend, or backend/server.", "server")
}

func serverMostInstancesDesc() *prometheus.Desc {
	return desc("chandler_server_capacity_instances", "How many instances the catalog lets a server have; absent without a limit.", "server")
}

func serverPromisedDesc() *prometheus.Desc {
	return desc("chandler_server_promised_bytes", "What the plans of its instances let them take of a server, by kind: storage, memory.", "server", "kind")
}

func serverMostPromisedDesc() *prometheus.Desc {
	return desc("chandler_server_capacity_bytes", "What of a server the catalog lets be promised, by kind; absent without a limit.", "server", "kind")
}

func serverFreeDesc() *prometheus.Desc {
	return desc("chandler_server_free_bytes", "What a server says that it has left, by kind; absent where it cannot tell.", "server", "kind")
}

func serverDrainedDesc() *prometheus.Desc {
	return desc("chandler_server_drained", "1 where the catalog keeps new instances from a server.", "server")
}

func conditionsDesc() *prometheus.Desc {
	return desc("chandler_instance_conditions", "Instances that have a condition, by server and reason: over_quota, inaccessible.", "server", "reason")
}

func readyDesc() *prometheus.Desc {
	return desc("chandler_ready", "1 where the part answers: the state database, the credential store and each backend.", "part")
}

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	out <- queueDesc()
	out <- instancesDesc()
	out <- readyDesc()
	for _, d := range []*prometheus.Desc{
		serverInstancesDesc(), serverMostInstancesDesc(), serverPromisedDesc(), serverMostPromisedDesc(), serverFreeDesc(), serverDrainedDesc(), conditionsDesc(),
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	for _, p := range c.app.ready.readiness().Parts {
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
	instances := map[[2]string]float64{}
	for _, u := range used {
		family, name := c.app.planLabels(u.ServiceID, u.PlanID)
		instances[[2]string{family, name}] += float64(u.Instances)
	}
	for plan, n := range instances {
		gauge(instancesDesc(), n, plan[0], plan[1])
	}
	c.collectServers(ctx, gauge)
	c.collectConditions(ctx, gauge)
}

func (c *stateCollector) collectConditions(ctx context.Context, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	rows, err := c.app.store.CountConditions(ctx, c.app.store.Pool)
	if err != nil {
		return
	}
	counts := map[[2]string]float64{}
	for _, s := range c.app.catalog.Servers() {
		for _, reason := range services.Reasons() {
			counts[[2]string{s.Key(), string(reason)}] = 0
		}
	}
	for _, row := range rows {
		backend := row.Backend
		if p, ok := c.app.catalog.Plan(row.ServiceID, row.PlanID); ok && backend == "" {
			backend = p.Backend
		}
		counts[[2]string{catalog.ServerKey(backend, row.Server), row.ConditionReason}] += float64(row.Instances)
	}
	for series, n := range counts {
		gauge(conditionsDesc(), n, series[0], series[1])
	}
}

func (c *stateCollector) collectServers(ctx context.Context, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	for _, b := range c.app.catalog.Backends() {
		loads, err := c.app.placement.Loads(ctx, c.app.store.Pool, b.Name, "")
		if err != nil {
			return
		}
		for _, l := range loads {
			collectServer(l, gauge)
		}
	}
}

func collectServer(l placement.Load, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	server, drained := l.Server.Key(), 0.0
	if l.Server.Drain {
		drained = 1
	}
	gauge(serverDrainedDesc(), drained, server)
	gauge(serverInstancesDesc(), float64(l.Instances), server)
	if n := l.Server.Capacity.Instances; n > 0 {
		gauge(serverMostInstancesDesc(), float64(n), server)
	}
	for _, k := range []struct {
		kind                            string
		promised, capacity, free, total services.Size
	}{
		{"storage", l.Promised.Storage, l.Server.Capacity.Storage, l.Free.Storage, l.Total.Storage},
		{"memory", l.Promised.Memory, l.Server.Capacity.Memory, l.Free.Memory, l.Total.Memory},
	} {
		gauge(serverPromisedDesc(), float64(k.promised), server, k.kind)
		if k.capacity > 0 {
			gauge(serverMostPromisedDesc(), float64(k.capacity), server, k.kind)
		}
		if k.total > 0 {
			gauge(serverFreeDesc(), float64(k.free), server, k.kind)
		}
	}
}
