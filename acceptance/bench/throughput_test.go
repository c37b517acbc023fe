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

	"github.com/google/uuid"
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

// BenchmarkThroughput counts operations a second on a backend that does nothing,
// with an empty and with a full state on one server, in turns.
func BenchmarkThroughput(b *testing.B) {
	server, err := embedded.StartPostgres(b.Context(), embedded.PostgresOptions{Dir: b.TempDir()})
	check(b, err)
	b.Cleanup(func() { _ = server.Stop(context.Background()) })
	empty, full := newNoop(b, server, "state_empty"), newNoop(b, server, "state_full")
	check(b, fill(b.Context(), server.URL("state_full"), "bench", brokertest.Service, brokertest.Small))
	for _, clients := range []int{1, 16, 64} {
		var without, with float64
		for range throughputRounds {
			with = max(with, full.perSecond(b, clients))
			without = max(without, empty.perSecond(b, clients))
		}
		ratio := without / with
		b.ReportMetric(with, fmt.Sprintf("op/s-%d", clients))
		table.add(fmt.Sprintf("operations a second, %d client(s), with 0 and %d instances", clients, many),
			fmt.Sprintf("%.0f, %.0f: %.2f times", without, with, ratio), "within 1.2 times", ratio <= 1.2)
	}
}

// noop is a whole broker in this process over HTTP, with a backend in memory.
type noop struct{ client *osbclient.Client }

func newNoop(b *testing.B, server *embedded.Postgres, name string) *noop {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), server.URL("postgres"))
	check(b, err)
	defer conn.Close(b.Context())
	_, err = conn.Exec(b.Context(), "create database "+name)
	check(b, err)
	h := brokertest.New(b, brokertest.Options{DatabaseURL: server.URL(name)})
	front := httptest.NewServer(osb.Handler(osb.Options{
		Broker: h.Broker, Catalog: h.Catalog, Logger: slog.New(slog.DiscardHandler), RequireVersion: true,
		Door: brokertest.Door(b, catalog.Client{Name: "bench", Username: "bench", Passwords: []services.Secret{services.NewSecret("password")}}),
	}))
	b.Cleanup(front.Close)
	client, err := osbclient.New(osbclient.Options{
		URL: front.URL, Username: "bench", Password: "password",
		HTTP: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: time.Minute},
	})
	check(b, err)
	return &noop{client}
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
				faults[c] = n.lifecycle(b.Context(), &ended)
			}
		})
	}
	all.Wait()
	for _, err := range faults {
		check(b, err)
	}
	return float64(ended.Load()) / time.Since(began).Seconds()
}

func (n *noop) lifecycle(ctx context.Context, ended *atomic.Int64) error {
	id := uuid.NewString()
	deletion := osbclient.DeleteRequest{ServiceID: brokertest.Service, PlanID: brokertest.Small}
	for _, do := range []func() error{
		func() error {
			_, err := n.client.Provision(ctx, id, osbclient.ProvisionRequest{
				ServiceID: brokertest.Service, PlanID: brokertest.Small, OrganizationGUID: "o", SpaceGUID: "s",
			})
			return err
		},
		func() error {
			_, err := n.client.Bind(ctx, id, id, osbclient.BindRequest{ServiceID: brokertest.Service, PlanID: brokertest.Small, AppGUID: "a"})
			return err
		},
		func() error { _, err := n.client.Unbind(ctx, id, id, deletion); return err },
		func() error { _, err := n.client.Deprovision(ctx, id, deletion); return err },
	} {
		if err := do(); err != nil {
			return err
		}
		ended.Add(1)
	}
	return nil
}
