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

// scraper reports the metrics that are computed at each scrape. chandler_ready shows if the
// state cannot be read.
type scraper struct {
	descriptions map[string]*prometheus.Desc // by the metrics' names
	collect      []func(context.Context, gauge)
}

// gauge reports a value.
type gauge func(name string, value float64, labels ...string)

func newScraper(collect ...func(context.Context, gauge)) *scraper {
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
		{"chandler_backups", "Backups in the state, by family, plan and state: pending, ready, failed, deleting.", []string{"family", "plan", "state"}},
		{"chandler_backup_stored_bytes", "What the backups of a plan take in their store.", []string{"family", "plan"}},
		{"chandler_backup_age_seconds", "For a plan with a schedule, how long the instance has been without a new backup that has had none for longest.", []string{"family", "plan"}},
		{"chandler_backup_interval_seconds", "For a plan with a schedule, the longest time between two of its next backups.", []string{"family", "plan"}},
		{"chandler_backup_verified_seconds", "When a backup of the plan was last restored to prove it, in seconds since 1970; absent if never.", []string{"family", "plan"}},
		{"chandler_copies_in_progress", "Unfinished backups, restores and verifications, by kind.", []string{"kind"}},
		{"chandler_copies_failing", "Unfinished backups, restores and verifications that wait after an attempt that failed, by kind.", []string{"kind"}},
		{"chandler_ready", "1 if the part answers: the state database, the credential store and each backend.", []string{"part"}},
		{"chandler_certificate_not_after_seconds", "When a certificate in use expires, in seconds since 1970, by its use and its subject.", []string{"use", "subject"}},
	} {
		descriptions[m.name] = prometheus.NewDesc(m.name, m.help, m.labels, nil)
	}
	return &scraper{descriptions, collect}
}

// Describe implements prometheus.Collector.
func (s *scraper) Describe(out chan<- *prometheus.Desc) {
	for _, d := range s.descriptions {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *scraper) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTime)
	defer cancel()
	for _, collect := range s.collect {
		collect(ctx, func(name string, value float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(s.descriptions[name], prometheus.GaugeValue, value, labels...)
		})
	}
}

func (s *Server) collectReadiness(_ context.Context, report gauge) {
	for _, p := range s.Readiness().Parts {
		report("chandler_ready", flagValue(p.Ready), p.Name)
	}
}

func (s *Server) collectOperations(ctx context.Context, report gauge) {
	unfinished, err := s.store.CountUnfinished(ctx, s.store.Pool)
	if err != nil {
		return
	}
	counts := map[store.Kind]float64{store.Provision: 0, store.Update: 0, store.Deprovision: 0, store.Bind: 0, store.Unbind: 0}
	for _, u := range unfinished {
		counts[u.Kind] = float64(u.Operations)
	}
	for kind, n := range counts {
		report("chandler_operations_in_progress", n, string(kind))
	}
}

// series are values by two labels.
type series map[[2]string]float64

func (s series) report(report gauge, name string) {
	for labels, value := range s {
		report(name, value, labels[0], labels[1])
	}
}

func (s *Server) collectInstances(ctx context.Context, report gauge) {
	used, err := s.store.PlansInUse(ctx, s.store.Pool)
	if err != nil {
		return
	}
	instances := series{}
	for _, u := range used {
		family, name := s.planLabels(u.ServiceID, u.PlanID)
		instances[[2]string{family, name}] += float64(u.Instances)
	}
	instances.report(report, "chandler_instances")
}

func (s *Server) collectConditions(ctx context.Context, report gauge) {
	rows, err := s.store.CountConditions(ctx, s.store.Pool)
	if err != nil {
		return
	}
	counts := series{}
	for _, server := range s.catalog.Servers() {
		for _, reason := range services.Reasons() {
			counts[[2]string{server.Key(), string(reason)}] = 0
		}
	}
	for _, row := range rows {
		backend := row.Backend
		if p, ok := s.catalog.Plan(row.ServiceID, row.PlanID); ok && backend == "" {
			backend = p.Backend
		}
		counts[[2]string{catalog.ServerKey(backend, row.Server), row.ConditionReason}] += float64(row.Instances)
	}
	counts.report(report, "chandler_instance_conditions")
}

func (s *Server) collectServers(ctx context.Context, report gauge) {
	for _, b := range s.catalog.Backends() {
		loads, err := s.placement.Loads(ctx, s.store.Pool, b.Name, "")
		if err != nil {
			return
		}
		for _, l := range loads {
			collectServer(l, report)
		}
	}
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
