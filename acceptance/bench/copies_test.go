package bench_test

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// copyPairs is how often each copy is made by the broker and by the bare tool, in turns.
const copyPairs = 3

// copyBytes is about how much data is copied.
func copyBytes() int64 {
	n, err := strconv.ParseInt(cmp.Or(os.Getenv("CHANDLER_BENCH_MB"), "256"), 10, 64)
	if err != nil {
		panic("CHANDLER_BENCH_MB: " + err.Error())
	}
	return n << 20
}

// BenchmarkCopies compares backups and restores with a bare tool in a pipe, of the same data to
// the same store: TOOL | zstd | age and an upload, or a download and age | zstd -d | TOOL. What
// the tool and the broker take turns in, other load of the machine slows down alike.
func BenchmarkCopies(b *testing.B) {
	for _, backend := range []string{"postgres", "mysql", "nats", "s3", "smb"} {
		b.Run(backend, func(b *testing.B) {
			c := newCopies(b, backend)
			c.compare("backup", c.backUp, c.rawBackUp)
			c.compare("restore", c.restore, c.rawRestore)
			most := memory(b, c.broker.Process().PID(), "VmHWM")
			b.ReportMetric(most, "MB-memory")
			table.add("  the most memory that the broker had", fmt.Sprintf("%.0f MB", most), "below 100 MB", most < 100)
		})
	}
}

// copyBench copies instances of one plan.
type copyBench struct {
	b      *testing.B
	d      *rig.Deployment
	broker *rig.Broker
	client *osbclient.Client
	plan   *catalog.Plan
	store  copyStore
	state  *pgx.Conn
	raw    rawTool
	source string         // the instance that is copied
	access map[string]any // credentials of its binding
}

// spent is what a copy took: the time, and the processor time of the broker and the programs that it
// starts, or of the programs in the pipe. That of the servers is not in it.
type spent struct{ time, cpu time.Duration }

func newCopies(b *testing.B, backend string) *copyBench {
	b.Helper()
	store := startCopyStore(b)
	c := newCopiesTo(b, backend, store.environment())
	c.store, c.raw = store, rawTools()[backend]
	check(b, c.raw.fill(b.Context(), c.d, c.access, copyBytes()))
	return c
}

// newCopiesTo deploys a broker with a store of backups, and makes an instance.
func newCopiesTo(b *testing.B, backend string, store map[string]string) *copyBench {
	b.Helper()
	c := &copyBench{b: b, source: uuid.NewString()}
	c.d = deploy(b, rig.Options{Backends: []string{backend}, Catalog: roomyCatalog(b, backend), Environment: store})
	var err error
	c.broker, err = c.d.AddBroker(b.Context(), "broker", nil)
	check(b, err)
	c.client, err = c.broker.Client(osbclient.Options{})
	check(b, err)
	parsed, err := c.d.Parsed()
	check(b, err)
	c.plan = parsed.PlansOf(backend)[0]
	c.state, err = pgx.Connect(b.Context(), c.d.StateURL)
	check(b, err)
	b.Cleanup(func() { _ = c.state.Close(context.Background()) }) // b's context has ended
	c.provision(c.source, nil)
	c.access = c.bind(c.source)
	return c
}

// roomyCatalog is the shipped catalog with backups and more room.
func roomyCatalog(b *testing.B, backend string) []byte {
	b.Helper()
	text, err := rig.ShippedCatalog(backend)
	check(b, err)
	var c map[string]any
	check(b, yaml.Unmarshal(text, &c))
	for _, s := range c["services"].([]any) {
		for _, p := range s.(map[string]any)["plans"].([]any) {
			plan := p.(map[string]any)
			plan["backups"] = map[string]any{"on_demand": 100}
			plan["config"].(map[string]any)["storage"] = "20GB"
		}
	}
	text, err = yaml.Marshal(c)
	check(b, err)
	return text
}

// compare reports how many times as fast as the bare tool the broker is, by the median of the pairs.
func (c *copyBench) compare(what string, ours, bare func() spent) {
	c.b.Helper()
	var pairs [][2]spent
	for range copyPairs {
		pairs = append(pairs, [2]spent{ours(), bare()})
	}
	ratio := func(of func(spent) time.Duration) float64 {
		var all []float64
		for _, p := range pairs {
			all = append(all, float64(of(p[1]))/float64(of(p[0])))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	speed := ratio(func(s spent) time.Duration { return s.time })
	middle := pairs[len(pairs)/2]
	c.b.ReportMetric(speed, what+"-ratio")
	table.add(fmt.Sprintf("%s of %d MB in %s, against the bare tool, zstd, age and minio-go", what, copyBytes()>>20, c.plan.Backend),
		fmt.Sprintf("%.2f times as fast (%.1f s, %.1f s), %.2f by processor time (%.1f s, %.1f s)", speed, middle[0].time.Seconds(), middle[1].time.Seconds(),
			ratio(func(s spent) time.Duration { return s.cpu }), middle[0].cpu.Seconds(), middle[1].cpu.Seconds()),
		"at least 0.8 times", speed >= 0.8)
}

func (c *copyBench) backUp() spent {
	c.b.Helper()
	before := c.cpu()
	check(c.b, c.backUpOf(c.source))
	return spent{c.took(c.source), c.cpu() - before}
}

func (c *copyBench) backUpOf(id string) error {
	made, err := c.client.Update(c.b.Context(), id, osbclient.UpdateRequest{
		ServiceID: c.plan.Service.ID, Parameters: map[string]any{"backup": map[string]any{"name": uuid.NewString()}}, AcceptsIncomplete: true,
	})
	if err != nil {
		return err
	}
	return c.await(id, made, false)
}

func (c *copyBench) rawBackUp() spent {
	c.b.Helper()
	return c.run(c.raw.out+" | zstd -q | \"$SELF\"", c.access, stagePut)
}

func (c *copyBench) restore() spent {
	c.b.Helper()
	id, before := uuid.NewString(), c.cpu()
	c.provision(id, map[string]any{"restore_from": map[string]any{"instance": c.source}})
	s := spent{c.took(id), c.cpu() - before}
	c.deprovision(id)
	return s
}

func (c *copyBench) rawRestore() spent {
	c.b.Helper()
	id := uuid.NewString()
	c.provision(id, nil)
	s := c.run("\"$SELF\" | zstd -dq | "+c.raw.in, c.bind(id), stageGet)
	c.deprovision(id)
	return s
}

// took is how long the last attempt of an instance's last copy took.
func (c *copyBench) took(id string) (took time.Duration) {
	c.b.Helper()
	check(c.b, c.state.QueryRow(c.b.Context(), "select finished_at - due_at from copies where instance_id = $1 order by seq desc limit 1", id).Scan(&took))
	return took
}

func (c *copyBench) cpu() time.Duration { return cpuWithChildren(c.b, c.broker.Process().PID()) }

func (c *copyBench) provision(id string, parameters map[string]any) {
	c.b.Helper()
	made, err := c.client.Provision(c.b.Context(), id, osbclient.ProvisionRequest{
		ServiceID: c.plan.Service.ID, PlanID: c.plan.ID, OrganizationGUID: "o", SpaceGUID: "s", Parameters: parameters, AcceptsIncomplete: true,
	})
	check(c.b, err)
	check(c.b, c.await(id, made, false))
}

func (c *copyBench) bind(id string) map[string]any {
	c.b.Helper()
	bound, err := c.client.Bind(c.b.Context(), id, id, osbclient.BindRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID, AppGUID: "a"})
	check(c.b, err)
	return bound.Credentials
}

// deprovision removes an instance, and its binding if it has one.
func (c *copyBench) deprovision(id string) {
	c.b.Helper()
	deletion := osbclient.DeleteRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID, AcceptsIncomplete: true}
	_, _ = c.client.Unbind(c.b.Context(), id, id, osbclient.DeleteRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID})
	gone, err := c.client.Deprovision(c.b.Context(), id, deletion)
	check(c.b, err)
	check(c.b, c.await(id, gone, true))
}

func (c *copyBench) await(id string, change osbclient.Change, deletion bool) error {
	if change.Status != http.StatusAccepted {
		return nil
	}
	_, err := c.client.WaitInstance(c.b.Context(), id, osbclient.Poll{Operation: change.Operation, Deletion: deletion})
	return err
}
