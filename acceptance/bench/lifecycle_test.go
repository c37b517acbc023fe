package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

const (
	rounds = 40
	spares = 6

	service = "2d9fd6f4-3b5c-4a6e-9a5f-5b9f1dcb2c01"
	plan    = "2d9fd6f4-3b5c-4a6e-9a5f-5b9f1dcb2c02"
)

func catalogOf(spares int) []byte {
	return fmt.Appendf(nil, `
backends:
  postgres: {type: database/postgres, config: {url: "${POSTGRES_ADMIN_URL}"}}
services:
- id: %s
  name: database
  description: PostgreSQL
  bindable: true
  plans:
  - {id: %s, name: plan, description: Plan, backend: postgres, config: {spares: %d}}
`, service, plan, spares)
}

// The four verbs, in the order they are measured in.
var verbs = []string{"provision", "bind", "unbind", "deprovision"}

// times are measurements by verb.
type times map[string][]time.Duration

func (t times) measure(verb string, do func() error) error {
	began := time.Now()
	err := do()
	t[verb] = append(t[verb], time.Since(began))
	return err
}

// BenchmarkLifecycle compares each verb through HTTP with the same statements
// sent straight to PostgreSQL by the same backend, one after the other, with the
// credentials sealed in the state; BenchmarkFamilies keeps them in Vault.
func BenchmarkLifecycle(b *testing.B) {
	d := deploy(b, rig.Options{Catalog: catalogOf(0)})
	parsed, err := d.Parsed()
	check(b, err)
	over, straight := newRemote(b, d, service, plan), newDirect(b, d, parsed.PlansOf("postgres")[0])
	for range rounds {
		check(b, over.round(b.Context()))
		check(b, straight.round(b.Context()))
	}
	for _, verb := range verbs {
		ours, theirs := median(over.times[verb]), median(straight.times[verb])
		added := median(differences(over.times[verb], straight.times[verb]))
		b.ReportMetric(float64(added.Microseconds())/1000, verb+"-added-ms")
		table.add(verb+" through HTTP, credentials sealed, against the same statements straight to PostgreSQL",
			fmt.Sprintf("%s added (%s, %s)", milliseconds(added), milliseconds(ours), milliseconds(theirs)),
			fmt.Sprintf("at most %d ms added", mostAdded[verb].Milliseconds()), added <= mostAdded[verb])
	}
}

// differences are between neighbours in time, which what else the machine does
// touches alike.
func differences(ours, theirs []time.Duration) []time.Duration {
	all := make([]time.Duration, len(ours))
	for i := range ours {
		all[i] = ours[i] - theirs[i]
	}
	return all
}

// BenchmarkSpares compares a provision that finds a spare database with the bare
// CREATE DATABASE.
func BenchmarkSpares(b *testing.B) {
	d := deploy(b, rig.Options{Catalog: catalogOf(spares), Environment: map[string]string{"CHANDLER_KEEP_EVERY": "1s"}})
	conn, err := pgx.Connect(b.Context(), d.Value("POSTGRES_ADMIN_URL"))
	check(b, err)
	defer conn.Close(b.Context())
	over, bare := newRemote(b, d, service, plan), times{}
	for n := range rounds {
		check(b, awaitSpares(b.Context(), conn))
		check(b, over.round(b.Context()))
		check(b, awaitSpares(b.Context(), conn)) // so that none is being made meanwhile
		name := fmt.Sprintf("bare_%d", n)
		check(b, bare.measure("create", func() error {
			_, err := conn.Exec(b.Context(), "create database "+name+" template template0")
			return err
		}))
		_, err := conn.Exec(b.Context(), "drop database "+name)
		check(b, err)
	}
	ours, theirs := median(over.times["provision"]), median(bare["create"])
	b.ReportMetric(float64(ours)/float64(theirs), "ratio")
	table.add("provision through HTTP with a spare database, against a bare CREATE DATABASE",
		fmt.Sprintf("%s, %s", milliseconds(ours), milliseconds(theirs)), "faster", ours < theirs)
}

// awaitSpares waits until all spares are ready.
func awaitSpares(ctx context.Context, conn *pgx.Conn) error {
	for {
		var ready int
		err := conn.QueryRow(ctx, `select count(*) from pg_database where datname like 'c\_spare\_%' and datacl is not null`).Scan(&ready)
		if err != nil || ready == spares {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// remote is the lifecycle through HTTP.
type remote struct {
	client        *osbclient.Client
	service, plan string
	times         times
}

func newRemote(b *testing.B, d *rig.Deployment, service, plan string) *remote {
	b.Helper()
	broker, err := d.AddBroker(b.Context(), "broker", nil)
	check(b, err)
	client, err := broker.Client(osbclient.Options{})
	check(b, err)
	return &remote{client, service, plan, times{}}
}

func (r *remote) round(ctx context.Context) error {
	for _, step := range lifecycle(r.client, r.service, r.plan) {
		if err := r.times.measure(step.verb, func() error { return step.do(ctx) }); err != nil {
			return fmt.Errorf("%s: %w", step.verb, err)
		}
	}
	return nil
}

// step is a verb's request.
type step struct {
	verb string
	do   func(context.Context) error
}

// lifecycle is that of a new instance with one binding.
func lifecycle(client *osbclient.Client, service, plan string) []step {
	id, deletion := uuid.NewString(), osbclient.DeleteRequest{ServiceID: service, PlanID: plan}
	return []step{
		{"provision", func(ctx context.Context) error {
			_, err := client.Provision(ctx, id, osbclient.ProvisionRequest{ServiceID: service, PlanID: plan, OrganizationGUID: "o", SpaceGUID: "s"})
			return err
		}},
		{"bind", func(ctx context.Context) error {
			_, err := client.Bind(ctx, id, id, osbclient.BindRequest{ServiceID: service, PlanID: plan, AppGUID: "a"})
			return err
		}},
		{"unbind", func(ctx context.Context) error { _, err := client.Unbind(ctx, id, id, deletion); return err }},
		{"deprovision", func(ctx context.Context) error { _, err := client.Deprovision(ctx, id, deletion); return err }},
	}
}

// direct is the lifecycle by the backend alone.
type direct struct {
	driver *servicetest.Driver
	plan   *catalog.Plan
	times  times
}

func newDirect(b *testing.B, d *rig.Deployment, plan *catalog.Plan) *direct {
	b.Helper()
	parsed, err := d.Parsed()
	check(b, err)
	server := parsed.ServersOf(plan.Backend)[0]
	driver, err := servicetest.Open(b.Context(), server.Definition, server.Config.JSON())
	check(b, err)
	b.Cleanup(func() { _ = driver.Close() })
	return &direct{driver, plan, times{}}
}

func (r *direct) round(ctx context.Context) error {
	inst := services.RawInstance{ID: uuid.NewString(), Plan: r.plan.Config, Params: json.RawMessage(`{}`)}
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		return err
	}
	bound := services.RawBinding{ID: "b", Params: json.RawMessage(`{}`), Seed: seed}
	for _, step := range []struct {
		verb string
		do   func() error
	}{
		{"provision", func() error {
			return servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return r.driver.Provision(ctx, inst) })
		}},
		{"bind", func() error {
			return servicetest.ToTheEnd(ctx, func(ctx context.Context) error { _, err := r.driver.Bind(ctx, inst, bound); return err })
		}},
		{"unbind", func() error {
			return servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return r.driver.Unbind(ctx, inst, bound) })
		}},
		{"deprovision", func() error {
			return servicetest.ToTheEnd(ctx, func(ctx context.Context) error { return r.driver.Deprovision(ctx, inst) })
		}},
	} {
		if err := r.times.measure(step.verb, step.do); err != nil {
			return fmt.Errorf("%s: %w", step.verb, err)
		}
	}
	return nil
}
