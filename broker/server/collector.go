package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/placement"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// scrapeTime limits the queries of one scrape.
const scrapeTime = 5 * time.Second

// stateCollector reads the state, and the parts' latest readiness, at each scrape. If the
// state cannot be read, chandler_ready tells.
type stateCollector struct {
	*Server
	descriptions map[string]*prometheus.Desc // by the metrics' names
}

func stateMetrics() map[string]*prometheus.Desc {
	descriptions := map[string]*prometheus.Desc{}
	for _, m := range []struct {
		name, help string
		labels     []string
	}{
		{"chandler_operations_in_progress", "Unfinished operations in the state, by kind.", []string{"kind"}},
		{"chandler_instances", "Instances in the state, by family and plan.", []string{"family", "plan"}},
		{"chandler_server_instances", "Instances on the server of a backend; a server is backend, or backend/server.", []string{"server"}},
		{"chandler_server_capacity_instances", "How many instances the catalog allows on a server; absent without a limit.", []string{"server"}},
		{"chandler_server_promised_bytes", "What the plans of a server's instances promise, by kind: storage, memory.", []string{"server", "kind"}},
		{"chandler_server_capacity_bytes", "What the catalog allows to be promised of a server, by kind; absent without a limit.", []string{"server", "kind"}},
		{"chandler_server_free_bytes", "What a server reports as free, by kind; absent if it cannot tell.", []string{"server", "kind"}},
		{"chandler_server_drained", "1 if the catalog drains the server.", []string{"server"}},
		{"chandler_instance_conditions", "Instances that have a condition, by server and reason: over_quota, inaccessible.", []string{"server", "reason"}},
		{"chandler_ready", "1 if the part answers: the state database, the credential store and each backend.", []string{"part"}},
	} {
		descriptions[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return descriptions
}

// gauge reports a value.
type gauge func(name string, value float64, labels ...string)

// Describe implements prometheus.Collector.
func (c *stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descriptions {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (c *stateCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	report := func(name string, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(c.descriptions[name], prometheus.GaugeValue, value, labels...)
	}
	for _, p := range c.Readiness().Parts {
		report("chandler_ready", flagValue(p.Ready), p.Name)
	}
	for _, collect := range []func(context.Context, gauge) error{c.collectOperations, c.collectInstances, c.collectServers, c.collectConditions} {
		if collect(ctx, report) != nil {
			return
		}
	}
}

func (c *stateCollector) collectOperations(ctx context.Context, report gauge) error {
	unfinished, err := c.store.CountUnfinished(ctx, c.store.Pool)
	if err != nil {
		return err
	}
	counts := map[store.Kind]float64{store.Provision: 0, store.Update: 0, store.Deprovision: 0, store.Bind: 0, store.Unbind: 0}
	for _, u := range unfinished {
		counts[u.Kind] = float64(u.Operations)
	}
	for kind, n := range counts {
		report("chandler_operations_in_progress", n, string(kind))
	}
	return nil
}

func (c *stateCollector) collectInstances(ctx context.Context, report gauge) error {
	used, err := c.store.PlansInUse(ctx, c.store.Pool)
	if err != nil {
		return err
	}
	instances := map[[2]string]float64{}
	for _, u := range used {
		family, name := c.planLabels(u.ServiceID, u.PlanID)
		instances[[2]string{family, name}] += float64(u.Instances)
	}
	for plan, n := range instances {
		report("chandler_instances", n, plan[0], plan[1])
	}
	return nil
}

func (c *stateCollector) collectConditions(ctx context.Context, report gauge) error {
	rows, err := c.store.CountConditions(ctx, c.store.Pool)
	if err != nil {
		return err
	}
	counts := map[[2]string]float64{}
	for _, s := range c.catalog.Servers() {
		for _, reason := range services.Reasons() {
			counts[[2]string{s.Key(), string(reason)}] = 0
		}
	}
	for _, row := range rows {
		backend := row.Backend
		if p, ok := c.catalog.Plan(row.ServiceID, row.PlanID); ok && backend == "" {
			backend = p.Backend
		}
		counts[[2]string{catalog.ServerKey(backend, row.Server), row.ConditionReason}] += float64(row.Instances)
	}
	for series, n := range counts {
		report("chandler_instance_conditions", n, series[0], series[1])
	}
	return nil
}

func (c *stateCollector) collectServers(ctx context.Context, report gauge) error {
	for _, b := range c.catalog.Backends() {
		loads, err := c.placement.Loads(ctx, c.store.Pool, b.Name, "")
		if err != nil {
			return err
		}
		for _, l := range loads {
			collectServer(l, report)
		}
	}
	return nil
}

func collectServer(l placement.Load, report gauge) {
	server, capacity := l.Server.Key(), l.Server.Capacity
	report("chandler_server_drained", flagValue(l.Server.Drain), server)
	report("chandler_server_instances", float64(l.Instances), server)
	if capacity.Instances > 0 {
		report("chandler_server_capacity_instances", float64(capacity.Instances), server)
	}
	for _, k := range []struct {
		kind                            string
		promised, capacity, free, total services.Size
	}{
		{"storage", l.Promised.Storage, capacity.Storage, l.Free.Storage, l.Total.Storage},
		{"memory", l.Promised.Memory, capacity.Memory, l.Free.Memory, l.Total.Memory},
	} {
		report("chandler_server_promised_bytes", float64(k.promised), server, k.kind)
		if k.capacity > 0 {
			report("chandler_server_capacity_bytes", float64(k.capacity), server, k.kind)
		}
		if k.total > 0 {
			report("chandler_server_free_bytes", float64(k.free), server, k.kind)
		}
	}
}
