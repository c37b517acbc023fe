package acceptance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/operator"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/services"
)

// disaster is what docs/disaster.md is for: all servers lose their data, and the state and Vault are as
// they were some time before.
type disaster struct {
	d       *rig.Deployment
	broker  *rig.Broker
	copiers map[string]copier
	// bound are the credentials of the applications, by the backends' names.
	bound map[string]map[string]any
}

func newDisaster(d *rig.Deployment, b *rig.Broker, copiers map[string]copier) *disaster {
	return &disaster{d, b, copiers, map[string]map[string]any{}}
}

// The commands of docs/disaster.md.
const (
	recoverCommand   = "backups restore --server SERVER --all"
	elsewhereCommand = "backups restore --server SERVER --onto OTHER --all"
)

// onPage returns the arguments of a command, which docs/disaster.md has to contain, with the servers'
// names.
func onPage(command string, servers ...string) []string {
	GinkgoHelper()
	page, err := os.ReadFile("../docs/disaster.md")
	Expect(err).NotTo(HaveOccurred())
	Expect(string(page)).To(ContainSubstring("$ chandler " + command + "\n"))
	for i, name := range servers {
		command = strings.ReplaceAll(command, []string{"SERVER", "OTHER"}[i], name)
	}
	return strings.Fields(command)
}

func lost(backend string) string { return backend + "-lost" }

func (x *disaster) happen(ctx context.Context) {
	By("before")
	for name, c := range x.copiers {
		c.provision(ctx, lost(name), nil)
		x.bound[name] = c.bind(ctx, lost(name), lost(name)+"-app")
		c.writeWith(ctx, x.bound[name], "in the dump's time")
	}
	postgres := x.copiers["postgres"]
	postgres.provision(ctx, "bare", nil) // no backup
	verb(ctx, x.d, 0, append([]string{"backups", "create", "--wait"}, x.lost()...)...)
	dump, vault := filepath.Join(x.d.Dir, "state.dump"), filepath.Join(x.d.Dir, "vault.snapshot")
	Expect(x.d.DumpState(ctx, dump)).To(Succeed())
	Expect(x.d.SnapshotVault(ctx, vault)).To(Succeed())
	postgres.writeWith(ctx, x.bound["postgres"], "after the dump")
	verb(ctx, x.d, 0, "backups", "create", "--wait", lost("postgres"))

	By("the disaster")
	x.broker.Kill()
	x.loseAll(ctx)

	By("the state and Vault come back")
	Expect(x.d.RestoreState(ctx, dump)).To(Succeed())
	Expect(x.d.RestoreVault(ctx, vault)).To(Succeed())
	Expect(x.broker.Start(ctx)).To(Succeed())
	Expect(verb(ctx, x.d, 0, onPage("backups import --all")...)).To(ContainSubstring("imported: "))

	Expect(verb(ctx, x.d, 0, onPage("backups restore --server SERVER --all --dry-run", "mysql")...)).To(ContainSubstring("pending: " + lost("mysql")))
	By("the instances come back, although the broker and the command are killed")
	x.recoverAll(ctx)
	for name, c := range x.copiers {
		want := "in the dump's time"
		if name == "postgres" {
			want = "after the dump"
		}
		c.expectWith(ctx, x.bound[name], want)
	}
	verb(ctx, x.d, 0, "backups", "restore", "--server", "postgres", "--all", "--empty") // bare
	Expect(verb(ctx, x.d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
	for name, c := range x.copiers {
		if name != "postgres" {
			c.unbind(ctx, lost(name), lost(name)+"-app")
			c.deprovision(ctx, lost(name))
		}
	}
	postgres.deprovision(ctx, "bare")
}

func (x *disaster) lost() (ids []string) {
	for name := range x.copiers {
		ids = append(ids, lost(name))
	}
	return ids
}

func (x *disaster) loseAll(ctx context.Context) {
	GinkgoHelper()
	var all sync.WaitGroup
	faults := make([]error, len(x.d.Servers))
	for i, s := range x.d.Servers {
		if s.Backend == "spare" {
			continue
		}
		all.Go(func() { faults[i] = s.Lose(ctx) })
	}
	all.Wait()
	Expect(faults).To(HaveEach(Succeed()))
}

// recoverAll runs the command for every server, kills it and the broker half-way, and repeats it.
func (x *disaster) recoverAll(ctx context.Context) {
	GinkgoHelper()
	limited, cancel := context.WithTimeout(ctx, 1500*time.Millisecond)
	defer cancel()
	x.each(func(name string) { _, _ = x.d.Verb(limited, onPage(recoverCommand, name)...) })
	x.broker.Kill()
	Expect(x.broker.Start(ctx)).To(Succeed())
	x.each(func(name string) {
		defer GinkgoRecover()
		code := 0
		if name == "postgres" {
			code = 1 // bare
		}
		out := verb(ctx, x.d, code, onPage(recoverCommand, name)...)
		Expect(out).To(MatchRegexp(`(recovered|unchanged): %s `, lost(name)))
		if name == "postgres" {
			Expect(out).To(ContainSubstring("failed: bare (database postgres-small): it has no backup"))
		}
	})
}

func (x *disaster) each(do func(name string)) {
	var all sync.WaitGroup
	for name := range x.copiers {
		all.Go(func() { do(name) })
	}
	all.Wait()
}

// recoverElsewhere brings back the instance of a server that is gone for good on another one. The
// login and its password stay, and the address changes.
func recoverElsewhere(ctx context.Context, d *rig.Deployment, c copier) {
	GinkgoHelper()
	id, binding := lost("postgres"), lost("postgres")+"-app"
	Expect(verb(ctx, d, 0, onPage(elsewhereCommand, "postgres", "postgres/spare")...)).To(ContainSubstring("unchanged: " + id))
	before := c.fetch(ctx, id, binding)
	d.Servers[0].Kill()
	var results []operator.RecoveredInstance
	text, err := d.Verb(ctx, append(onPage(elsewhereCommand, "postgres", "postgres/spare"), "--output", "json")...)
	Expect(err).NotTo(HaveOccurred())
	Expect(json.Unmarshal([]byte(text.Stdout), &results)).To(Succeed(), text.Stdout+text.Stderr)
	Expect(results).To(HaveLen(1))
	Expect(results[0].Outcome).To(Equal(operator.InstanceRecovered), fmt.Sprintf("%+v", results))
	Expect(results[0].Changed).To(ConsistOf(binding))
	after := c.fetch(ctx, id, binding)
	Expect(after["password"]).To(Equal(before["password"]))
	Expect(after["port"]).NotTo(Equal(before["port"]))
	c.expectWith(ctx, after, "after the dump")
	c.unbind(ctx, id, binding)
	c.deprovision(ctx, id)
	Expect(d.Servers[0].Restart(ctx)).To(Succeed())
	verb(ctx, d, 0, "orphans", "--remove") // what the dead server still had
}

func (c copier) bind(ctx context.Context, id, binding string) map[string]any {
	GinkgoHelper()
	bound, err := c.client.Bind(ctx, id, binding, osbclient.BindRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID})
	Expect(err).NotTo(HaveOccurred())
	return bound.Credentials
}

func (c copier) fetch(ctx context.Context, id, binding string) map[string]any {
	GinkgoHelper()
	bound, err := c.client.FetchBinding(ctx, id, binding, c.plan.Service.ID, c.plan.ID)
	Expect(err).NotTo(HaveOccurred())
	return bound.Credentials
}

func (c copier) unbind(ctx context.Context, id, binding string) {
	GinkgoHelper()
	_, err := c.client.Unbind(ctx, id, binding, osbclient.DeleteRequest{ServiceID: c.plan.Service.ID, PlanID: c.plan.ID})
	Expect(err).NotTo(HaveOccurred())
}

// with connects with credentials.
func (c copier) with(ctx context.Context, credentials map[string]any, do func(services.Session)) {
	GinkgoHelper()
	session, err := c.dial(ctx, credentials)
	Expect(err).NotTo(HaveOccurred(), c.plan.Backend)
	do(session)
	Expect(session.Close()).To(Succeed())
}

func (c copier) writeWith(ctx context.Context, credentials map[string]any, value string) {
	GinkgoHelper()
	c.with(ctx, credentials, func(s services.Session) { Expect(s.Write(ctx, "key", value)).To(Succeed()) })
}

func (c copier) expectWith(ctx context.Context, credentials map[string]any, value string) {
	GinkgoHelper()
	c.with(ctx, credentials, func(s services.Session) {
		if c.plan.Backend == "rabbitmq" { // its copies have queues, but no messages
			Expect(s.Ping(ctx)).To(Succeed())
			return
		}
		Expect(s.Read(ctx, "key")).To(Equal(value), c.plan.Backend)
	})
}
