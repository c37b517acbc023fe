package acceptance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
)

// pool is a backend to which a second server is added.
type pool struct {
	d             *rig.Deployment
	first, second *rig.Server
	postgres      *embedded.Postgres // the second
	brokers       []*rig.Broker
	client        *osbclient.Client
	shipped       string // the catalog with one server
	instances     []string
	bindings      map[string][]string // by instance
	pending       string              // the binding that waits for the second server
	waits         string              // its instance
}

// The servers' names in the operator commands.
const firstServer, secondServer = "postgres", "postgres/b"

var _ = Describe("A pool of servers", Ordered, func() {
	p := &pool{bindings: map[string][]string{}}
	BeforeAll(p.build)
	It("begins with the instances of its first server", p.begin)
	It("places instances on the server with the most free capacity, until all are full", p.place)
	It("limits the effect of a dead server to that server's instances", p.dead)
	It("continues with them when the server is back", p.back)
	It("places no new instances on a drained server", p.drain)
	It("adopts a database on a server, however often the command dies", p.adopt)
	It("places each instance once, however often brokers die", p.crash)
	It("cannot lose a server that has instances", p.forget)
	It("leaves nothing behind", p.clean)
	It("leaves no secret in a wrong place", func(ctx SpecContext) { expectOrderlyEnd(ctx, p.d) })
})

func (p *pool) build(ctx SpecContext) {
	p.d = deploy(ctx, rig.Options{})
	p.first = p.d.Servers[0]
	var err error
	p.second, p.postgres, err = p.d.AddPostgres(ctx, "second", "POSTGRES_B_ADMIN_URL")
	Expect(err).NotTo(HaveOccurred())
	shipped, err := os.ReadFile(filepath.Join(p.d.Dir, "catalog.yml"))
	Expect(err).NotTo(HaveOccurred())
	p.shipped = string(shipped)
	p.start(ctx)
}

// start starts a replica, and restarts it if the catalog has changed.
func (p *pool) start(ctx context.Context) {
	GinkgoHelper()
	for _, b := range p.brokers {
		b.Kill()
	}
	p.brokers = append(p.brokers, addBroker(ctx, p.d, fmt.Sprintf("pool-%d", len(p.brokers)), nil))
	p.client = clientOf(p.brokers[len(p.brokers)-1])
}

// servers writes a catalog with these servers of the backend.
func (p *pool) servers(lines ...string) {
	GinkgoHelper()
	const url = "url: ${POSTGRES_ADMIN_URL}\n"
	Expect(p.shipped).To(ContainSubstring(url))
	text := strings.Replace(p.shipped, url, "prefix: c\n    servers:\n      "+strings.Join(lines, "\n      ")+"\n", 1)
	Expect(os.WriteFile(filepath.Join(p.d.Dir, "catalog.yml"), []byte(text), 0o600)).To(Succeed())
}

const (
	firstOf  = `default: {config: {url: "${POSTGRES_ADMIN_URL}"}, capacity: {instances: 3}}`
	secondOf = `b: {config: {url: "${POSTGRES_B_ADMIN_URL}"}, capacity: {instances: 3}}`
)

// add creates an instance, and returns its server.
func (p *pool) add(ctx context.Context) (id, server string) {
	GinkgoHelper()
	id = uuid.NewString()
	made, err := p.client.Provision(ctx, id, provisionSmall())
	Expect(err).NotTo(HaveOccurred())
	if made.Accepted() {
		_, err = p.client.WaitInstance(ctx, id, osbclient.Poll{Operation: made.Operation})
		Expect(err).NotTo(HaveOccurred())
	}
	p.instances = append(p.instances, id)
	return id, p.on(ctx, id)
}

// on returns the server of an instance, according to the state.
func (p *pool) on(ctx context.Context, id string) string {
	GinkgoHelper()
	conn, err := pgx.Connect(ctx, p.d.StateURL)
	Expect(err).NotTo(HaveOccurred())
	defer conn.Close(ctx)
	var server string
	Expect(conn.QueryRow(ctx, "select server from instances where id = $1", id).Scan(&server)).To(Succeed())
	return catalog.ServerKey("postgres", server)
}

// use binds, and writes with the credentials.
func (p *pool) use(ctx context.Context, id string) {
	GinkgoHelper()
	run(ctx, connect(ctx, p.bind(ctx, id)), `create table if not exists cargo (what text); insert into cargo values ('Rope')`)
}

// bind returns the credentials of a new binding.
func (p *pool) bind(ctx context.Context, id string) map[string]any {
	GinkgoHelper()
	binding := uuid.NewString()
	bound, err := p.client.Bind(ctx, id, binding, osbclient.BindRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
	Expect(p.d.Secrets.AddCredentials("binding "+binding, bound.Credentials)).To(Succeed())
	p.bindings[id] = append(p.bindings[id], binding)
	return bound.Credentials
}

// has asks a server whether it has an instance's database.
func (p *pool) has(ctx context.Context, s *rig.Server, id string) bool {
	GinkgoHelper()
	names, err := s.Holds(ctx)
	Expect(err).NotTo(HaveOccurred())
	for _, name := range names {
		if name == "c_"+services.InstanceName(id) {
			return true
		}
	}
	return false
}

func (p *pool) begin(ctx SpecContext) {
	before, server := p.add(ctx)
	Expect(server).To(Equal(firstServer))
	p.use(ctx, before)
	p.servers(firstOf, secondOf)
	p.start(ctx)
	Expect(p.on(ctx, before)).To(Equal(firstServer))
	p.use(ctx, before)
}

func (p *pool) place(ctx SpecContext) {
	count := map[string]int{firstServer: 1}
	for range 5 {
		id, server := p.add(ctx)
		count[server]++
		p.use(ctx, id)
		Expect([]bool{p.has(ctx, p.first, id), p.has(ctx, p.second, id)}).To(Equal([]bool{server == firstServer, server == secondServer}))
	}
	Expect(count).To(Equal(map[string]int{firstServer: 3, secondServer: 3}))
	Expect(verb(ctx, p.d, 0, "instances", "show", p.instances[0])).To(MatchRegexp(`server:\s+postgres\n`))
	id := uuid.NewString()
	refused, err := p.client.Provision(ctx, id, provisionSmall())
	Expect(err).To(MatchError(ContainSubstring("no server has room for another instance of this plan; ask the operator of this broker for more")))
	Expect(refused.Status).To(Equal(http.StatusUnprocessableEntity))
	Expect(p.has(ctx, p.first, id) || p.has(ctx, p.second, id)).To(BeFalse())
	Expect(verb(ctx, p.d, 0, "servers")).To(And(MatchRegexp(`postgres\s+ready\s+3 of 3`), MatchRegexp(`postgres/b\s+ready\s+3 of 3`)))
}

// remove deletes the latest instance on a server.
func (p *pool) remove(ctx context.Context, server string) {
	GinkgoHelper()
	for i, id := range p.instances {
		if p.on(ctx, id) == server && i > 0 {
			p.delete(ctx, id)
			p.instances = append(p.instances[:i], p.instances[i+1:]...)
			return
		}
	}
	Fail("no instance is on " + server)
}

func (p *pool) delete(ctx context.Context, id string) {
	GinkgoHelper()
	for _, binding := range p.bindings[id] {
		_, err := p.client.Unbind(ctx, id, binding, osbclient.DeleteRequest{ServiceID: database, PlanID: small})
		Expect(err).NotTo(HaveOccurred())
	}
	delete(p.bindings, id)
	gone, err := p.client.Deprovision(ctx, id, osbclient.DeleteRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	if gone.Accepted() {
		_, err = p.client.WaitInstance(ctx, id, osbclient.Poll{Operation: gone.Operation, Deletion: true})
		Expect(err).NotTo(HaveOccurred())
	}
}

// parts returns the parts in /readyz, and why they are not ready.
func (p *pool) parts(ctx context.Context) (map[string]string, error) {
	code, body, err := p.brokers[len(p.brokers)-1].Page(ctx, "/readyz")
	if err != nil {
		return nil, err
	}
	if code != http.StatusOK {
		return nil, fmt.Errorf("not ready: %s", body)
	}
	var answer struct {
		Parts []struct{ Name, Reason string }
	}
	parts := map[string]string{}
	err = json.Unmarshal([]byte(body), &answer)
	for _, part := range answer.Parts {
		parts[part.Name] = part.Reason
	}
	return parts, err
}

func (p *pool) dead(ctx SpecContext) {
	p.remove(ctx, firstServer)
	p.remove(ctx, secondServer)
	p.second.Kill()
	Eventually(func() (map[string]string, error) { return p.parts(ctx) }).WithTimeout(time.Minute).Should(And(
		HaveKeyWithValue("backend "+firstServer, BeEmpty()), HaveKeyWithValue("backend "+secondServer, Not(BeEmpty()))))
	Eventually(func() (string, error) {
		_, page, err := p.brokers[len(p.brokers)-1].Page(ctx, "/metrics")
		return page, err
	}).WithTimeout(time.Minute).Should(And(
		ContainSubstring(`chandler_ready{part="backend postgres/b"} 0`), ContainSubstring(`chandler_ready{part="backend postgres"} 1`),
		ContainSubstring(`chandler_server_instances{server="postgres/b"} 2`), ContainSubstring(`chandler_server_capacity_instances{server="postgres/b"} 3`)))

	By("operations that need it wait")
	for _, id := range p.instances {
		if p.on(ctx, id) == secondServer {
			p.waits, p.pending = id, uuid.NewString()
		}
	}
	pending, err := p.client.Bind(ctx, p.waits, p.pending, osbclient.BindRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	Expect(pending.Accepted()).To(BeTrue())

	By("the others work, and get new instances as long as they have capacity")
	p.expectLogged("server does not answer")
	id, server := p.add(ctx)
	Expect(server).To(Equal(firstServer))
	p.use(ctx, id)
	refused, err := p.client.Provision(ctx, uuid.NewString(), provisionSmall())
	Expect(err).To(MatchError(ContainSubstring("the servers that have room do not answer at the moment; repeat the request later")))
	Expect(refused.Status).To(Equal(http.StatusServiceUnavailable))
	Expect(verb(ctx, p.d, 0, "servers")).To(MatchRegexp(`postgres/b\s+away: `))
	Expect(verb(ctx, p.d, 1, "orphans")).To(ContainSubstring("list the resources of backend postgres/b"))
}

// expectLogged waits until the broker has logged a text.
func (p *pool) expectLogged(text string) {
	GinkgoHelper()
	Eventually(p.brokers[len(p.brokers)-1].Process().Stderr).WithTimeout(time.Minute).Should(ContainSubstring(text))
}

func (p *pool) back(ctx SpecContext) {
	Expect(p.second.Restart(ctx)).To(Succeed())
	p.expectLogged("server answers again")
	_, err := p.client.WaitBinding(ctx, p.waits, p.pending, osbclient.Poll{})
	Expect(err).NotTo(HaveOccurred())
	p.bindings[p.waits] = append(p.bindings[p.waits], p.pending)
	p.use(ctx, p.waits)
	Eventually(func() (map[string]string, error) { return p.parts(ctx) }).WithTimeout(time.Minute).Should(HaveEach(BeEmpty()))
	Eventually(func() (string, error) {
		r, err := p.d.Verb(ctx, "orphans")
		return r.Stdout, err
	}).WithTimeout(time.Minute).ShouldNot(ContainSubstring("orphan "))
}

func (p *pool) drain(ctx SpecContext) {
	p.servers(strings.Replace(firstOf, "instances: 3}", "instances: 30}, drain: true", 1), strings.Replace(secondOf, "instances: 3", "instances: 30", 1))
	p.start(ctx)
	Expect(verb(ctx, p.d, 0, "servers")).To(MatchRegexp(`postgres\s+drained\s+3 of 30`))
	for range 3 {
		id, server := p.add(ctx)
		Expect(server).To(Equal(secondServer))
		p.use(ctx, id)
	}
	p.use(ctx, p.instances[0]) // on the drained one
}

// adopt adopts a database with a command that is killed at random moments and repeated.
func (p *pool) adopt(ctx SpecContext) {
	superuser := func(database string, statements ...string) {
		GinkgoHelper()
		conn, err := pgx.Connect(ctx, p.postgres.URL(database))
		Expect(err).NotTo(HaveOccurred())
		defer func() { Expect(conn.Close(ctx)).To(Succeed()) }()
		for _, statement := range statements {
			_, err := conn.Exec(ctx, statement)
			Expect(err).NotTo(HaveOccurred())
		}
	}
	superuser("postgres", `create role old_owner`, `grant old_owner to administrator`, `create database old_shop owner old_owner`)
	superuser("old_shop", `set role old_owner`, `create table public.customers (name text)`, `insert into public.customers values ('Ishmael')`)

	Expect(verb(ctx, p.d, 1, "instances", "adopt", p.instances[0], "--resource", "old_shop")).To(ContainSubstring("bindings; unbind them first"))
	id, server := p.add(ctx)
	Expect(server).To(Equal(secondServer))
	args := []string{"instances", "adopt", id, "--resource", "old_shop"}
	Expect(verb(ctx, p.d, 0, append(args[:len(args):len(args)], "--dry-run")...)).To(ContainSubstring("would be adopted"))
	killed := 0
	for moment := 20 * time.Millisecond; ; moment += 20 * time.Millisecond {
		process, err := rig.Start(rig.Command{Name: "adopt", Path: p.d.Binary, Args: args, Env: p.d.Env(nil), Dir: p.d.Dir})
		Expect(err).NotTo(HaveOccurred())
		select {
		case <-process.Done():
		case <-time.After(moment):
			process.Kill()
			killed++
			continue
		}
		code, err := process.Wait(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(code).To(Equal(0), process.Stderr())
		break
	}
	AddReportEntry("adopt", fmt.Sprintf("killed %d times", killed))
	Expect(killed).To(BeNumerically(">", 3))
	Expect(ask[string](ctx, connect(ctx, p.bind(ctx, id)), `select name from public.customers`)).To(Equal("Ishmael"))
	superuser("postgres", `drop role old_owner`)
}

// crash kills replicas while instances are created and deleted.
func (p *pool) crash(ctx SpecContext) {
	p.servers(strings.Replace(firstOf, "instances: 3", "instances: 30", 1), strings.Replace(secondOf, "instances: 3", "instances: 30", 1))
	p.start(ctx)
	broker := p.brokers[len(p.brokers)-1]
	client, err := broker.Client(osbclient.Options{MaxRetryAfter: 200 * time.Millisecond})
	Expect(err).NotTo(HaveOccurred())
	ids := make([]string, 12)
	var asking sync.WaitGroup
	for i := range ids {
		ids[i] = uuid.NewString()
		asking.Go(func() {
			defer GinkgoRecover()
			// Repeat a request that got no answer, like platforms.
			Eventually(func() error {
				made, err := client.Provision(ctx, ids[i], provisionSmall())
				if err == nil && made.Accepted() {
					_, err = client.WaitInstance(ctx, ids[i], osbclient.Poll{Operation: made.Operation})
				}
				return err
			}).WithTimeout(time.Minute).Should(Succeed())
		})
	}
	for range 4 {
		time.Sleep(150 * time.Millisecond)
		broker.Kill()
		Expect(broker.Start(ctx)).To(Succeed())
	}
	asking.Wait()
	p.instances = append(p.instances, ids...)
	count := map[string]int{}
	for _, id := range ids {
		server := p.on(ctx, id)
		count[server]++
		Expect([]bool{p.has(ctx, p.first, id), p.has(ctx, p.second, id)}).To(Equal([]bool{server == firstServer, server == secondServer}), id)
	}
	Expect(count[firstServer]).To(BeNumerically(">", 0))
	Expect(count[secondServer]).To(BeNumerically(">", 0))
	Expect(verb(ctx, p.d, 0, "orphans")).NotTo(ContainSubstring("orphan "))
}

func (p *pool) forget(ctx SpecContext) {
	p.servers(secondOf)
	Expect(verb(ctx, p.d, 2, "catalog", "check")).To(MatchRegexp(`backends.postgres: \d+ instance\(s\) of plan "postgres-small" are on its server "default", which the catalog does not list`))
	p.servers(firstOf)
	result, err := rig.Run(ctx, rig.Command{Name: "forgetful", Path: p.d.Binary, Args: []string{"serve"}, Env: p.d.Env(nil), Dir: p.d.Dir})
	Expect(err).NotTo(HaveOccurred())
	Expect(result.Code).To(Equal(2))
	Expect(result.Stderr).To(ContainSubstring(`are on its server "b", which the catalog does not list; put it back`))
	p.servers(firstOf, secondOf)
}

func (p *pool) clean(ctx SpecContext) {
	for _, id := range p.instances {
		p.delete(ctx, id)
	}
	for _, s := range []*rig.Server{p.first, p.second} {
		names, err := s.Holds(ctx)
		Expect(err).NotTo(HaveOccurred())
		Expect(names).To(BeEmpty())
	}
}
