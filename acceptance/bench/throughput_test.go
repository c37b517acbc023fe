package bench_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
)

const (
	throughputTime   = 4 * time.Second // of one measurement
	throughputRounds = 3               // the best of each counts: what else the machine does only makes it slower
)

// manyClients is the number of clients whose operations are compared with pgbench's
// transactions.
const manyClients = 16

// BenchmarkThroughput counts operations a second on a backend that does nothing, with an
// empty and with a full state on one server, alternately, and beside them what pgbench
// commits on that server.
func BenchmarkThroughput(b *testing.B) {
	server, err := embedded.StartPostgres(b.Context(), embedded.Options{Dir: b.TempDir()})
	check(b, err)
	b.Cleanup(func() { _ = server.Stop(context.Background()) })
	url := newDatabase(b, server, "state_full")
	empty, full := newNoop(b, brokertest.Options{DatabaseURL: newDatabase(b, server, "state_empty")}), newNoop(b, brokertest.Options{DatabaseURL: url})
	check(b, fill(b.Context(), url, "bench", brokertest.Service, brokertest.Small))
	raw := newPGBench(b, server)
	for _, clients := range []int{1, manyClients, 64} {
		var without, with, commits float64
		for range throughputRounds {
			with = max(with, full.perSecond(b, clients))
			without = max(without, empty.perSecond(b, clients))
			if clients == manyClients {
				commits = max(commits, raw.perSecond(b, clients))
			}
		}
		ratio := without / with
		b.ReportMetric(with, fmt.Sprintf("op/s-%d", clients))
		table.add(fmt.Sprintf("operations a second, %d client(s), with 0 and %d instances", clients, instances()),
			fmt.Sprintf("%.0f, %.0f: %.2f times", without, with, ratio), "within 1.1 times", ratio <= 1.1)
		if clients == manyClients {
			share := without / commits
			b.ReportMetric(share, "of-pgbench")
			table.add(fmt.Sprintf("operations a second against the commits of pgbench -N -c %d on the same server", clients),
				fmt.Sprintf("%.0f, %.0f: %.2f of them", without, commits, share), "at least a third", share >= 1./3)
		}
	}
}

// noop is a whole broker in this process over HTTP, with a backend in memory.
type noop struct{ client *osbclient.Client }

func newNoop(b testing.TB, o brokertest.Options) *noop {
	b.Helper()
	h := brokertest.New(b, o)
	front := httptest.NewServer(osb.Handler(osb.Options{
		Broker: h.Broker, Catalog: h.Catalog, Logger: slog.New(slog.DiscardHandler), RequireVersion: true,
		Authenticator: brokertest.Authenticator(b, catalog.Client{Name: "bench", Username: "bench", Passwords: []services.Secret{services.NewSecret("password")}}),
	}))
	b.Cleanup(front.Close)
	client, err := osbclient.New(osbclient.Options{
		URL: front.URL, Username: "bench", Password: "password",
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute},
	})
	check(b, err)
	return &noop{client}
}

// newDatabase creates a database and returns its URL.
func newDatabase(b testing.TB, server *embedded.Postgres, name string) string {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), server.URL("postgres"))
	check(b, err)
	defer conn.Close(b.Context())
	_, err = conn.Exec(b.Context(), "create database "+name)
	check(b, err)
	return server.URL(name)
}

// perSecond has clients do one lifecycle after another.
func (n *noop) perSecond(b *testing.B, clients int) float64 {
	b.Helper()
	var ended atomic.Int64
	faults := make([]error, clients)
	began := time.Now()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for time.Since(began) < throughputTime && faults[c] == nil {
				for _, step := range lifecycle(n.client, brokertest.Service, brokertest.Small) {
					if faults[c] = step.do(b.Context()); faults[c] != nil {
						return
					}
					ended.Add(1)
				}
			}
		})
	}
	all.Wait()
	for _, err := range faults {
		check(b, err)
	}
	return float64(ended.Load()) / time.Since(began).Seconds()
}
