package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// previous is the commit of the release before this one.
const previous = "6122f0cb4d402c5c2b5d0a01c9897794a9f802cd"

// lifetimes is a plan with keys that the previous release does not know.
const lifetimes = "0c2f3c5b-65cb-4c1b-9d57-6ba4d3f8e7d1"

// upgrade is the upgrade of a state database from the previous release to this one.
type upgrade struct {
	d              *rig.Deployment
	binary         string // of the previous release
	older, newer   *rig.Broker
	olderCatalog   string
	before         storyBinding // created by the previous release
	beforeInstance string
	traffic        *traffic
}

var _ = Describe("An upgrade", Ordered, func() {
	u := &upgrade{beforeInstance: uuid.NewString()}
	BeforeAll(u.build)
	It("starts at the previous release, under traffic", u.start)
	It("adds a replica of this release, which migrates the state", u.add)
	It("lets each release finish what the other has accepted", u.mix)
	It("uses new features, which the previous release leaves alone", u.lifetimes)
	It("stops the previous release without a failed request", u.stop)
	It("can be downgraded", u.back)
	It("leaves nothing behind", u.clean)
	It("leaves no secret in a wrong place", func(ctx SpecContext) { expectOrderlyEnd(ctx, u.d) })
})

func (u *upgrade) build(ctx SpecContext) {
	dir, err := os.MkdirTemp(folder, "previous-")
	Expect(err).NotTo(HaveOccurred())
	binary, sources, err := rig.BuildRelease(ctx, dir, previous)
	if errors.Is(err, rig.ErrNoHistory) {
		Skip(err.Error())
	}
	Expect(err).NotTo(HaveOccurred())
	u.binary = binary
	u.d = deploy(ctx, rig.Options{Vault: vaultBinary})
	u.traffic = &traffic{d: u.d}
	DeferCleanup(u.traffic.end) // before the deployment
	shipped, err := os.ReadFile(filepath.Join(sources, "catalog.yml"))
	Expect(err).NotTo(HaveOccurred())
	text, err := rig.CutCatalog(shipped, u.d.Backends...)
	Expect(err).NotTo(HaveOccurred())
	u.olderCatalog = filepath.Join(u.d.Dir, "older.yml")
	Expect(os.WriteFile(u.olderCatalog, text, 0o600)).To(Succeed())
}

func (u *upgrade) addOlder(ctx context.Context, name string) *rig.Broker {
	GinkgoHelper()
	b, err := u.d.AddBrokerOf(ctx, u.binary, name, map[string]string{"CHANDLER_CATALOG": u.olderCatalog})
	Expect(err).NotTo(HaveOccurred())
	return b
}

func (u *upgrade) start(ctx SpecContext) {
	u.older = u.addOlder(ctx, "older")
	client := clientOf(u.older)
	made, err := client.Provision(ctx, u.beforeInstance, provisionSmall())
	Expect(err).NotTo(HaveOccurred())
	Expect(made.Status).To(Equal(http.StatusCreated))
	u.before = *newStoryBinding()
	bound, err := client.Bind(ctx, u.beforeInstance, u.before.id, osbclient.BindRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	Expect(err).NotTo(HaveOccurred())
	u.before.credentials = bound.Credentials
	Expect(u.d.Secrets.AddCredentials("binding "+u.before.id, bound.Credentials)).To(Succeed())
	run(ctx, connect(ctx, bound.Credentials), `create table cargo (what text); insert into cargo values ('Rope')`)

	u.traffic.to(client)
	u.traffic.begin(4)
	u.traffic.rounds(ctx, 3)
}

func (u *upgrade) add(ctx SpecContext) {
	path := filepath.Join(u.d.Dir, "catalog.yml")
	shipped, err := os.ReadFile(path)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(path, append(shipped, "      - {id: "+lifetimes+", name: postgres-lifetimes, description: Short-lived, backend: postgres, "+
		"config: {}, cascade: true, binding_lifetime: 2s, keep_deleted: 1h}\n"...), 0o600)).To(Succeed())
	u.newer = addBroker(ctx, u.d, "newer", nil)
	u.traffic.rounds(ctx, 3)
}

func (u *upgrade) mix(ctx SpecContext) {
	u.traffic.to(clientOf(u.older), clientOf(u.newer))
	u.traffic.rounds(ctx, 20)
	for _, b := range []*rig.Broker{u.older, u.newer} {
		_, page, err := b.Page(ctx, "/metrics")
		Expect(err).NotTo(HaveOccurred())
		Expect(page).To(MatchRegexp(`chandler_operations_total\{family="database",kind="bind",outcome="succeeded",plan="postgres-small"\} [1-9]`))
	}
	fetched, err := clientOf(u.newer).FetchBinding(ctx, u.beforeInstance, u.before.id, "", "")
	Expect(err).NotTo(HaveOccurred())
	Expect(fetched.Credentials).To(Equal(u.before.credentials))
}

func (u *upgrade) lifetimes(ctx SpecContext) {
	client := clientOf(u.newer)
	instance, binding := uuid.NewString(), uuid.NewString()
	r := provisionSmall()
	r.PlanID = lifetimes
	made, err := client.Provision(ctx, instance, r)
	Expect(err).NotTo(HaveOccurred())
	if made.Accepted() { // the older replica may have taken the job first, and left it
		_, err = client.WaitInstance(ctx, instance, osbclient.Poll{Operation: made.Operation})
		Expect(err).NotTo(HaveOccurred())
	}
	bound, err := client.Bind(ctx, instance, binding, osbclient.BindRequest{ServiceID: database, PlanID: lifetimes})
	Expect(err).NotTo(HaveOccurred())
	Expect(u.d.Secrets.AddCredentials("binding "+binding, bound.Credentials)).To(Succeed())
	By("the end of the binding's lifetime")
	Eventually(func() error {
		conn, err := open(ctx, bound.Credentials)
		if err == nil {
			_ = conn.Close()
		}
		return err
	}).WithTimeout(time.Minute).Should(refusedAs("invalid_password"))
	By("a deletion that keeps the data, until it is purged")
	var gone osbclient.Change
	Eventually(func() error { // the end of the binding's lifetime may be on record a moment later
		gone, err = client.Deprovision(ctx, instance, osbclient.DeleteRequest{ServiceID: database, PlanID: lifetimes, AcceptsIncomplete: true})
		return err
	}).WithTimeout(time.Minute).Should(Succeed())
	if gone.Accepted() {
		_, err = client.WaitInstance(ctx, instance, osbclient.Poll{Operation: gone.Operation, Deletion: true})
		Expect(err).NotTo(HaveOccurred())
	}
	Expect(verb(ctx, u.d, 0, "instances", "list")).To(ContainSubstring(instance + "@"))
	Expect(verb(ctx, u.d, 0, "instances", "purge", instance, "--force")).To(ContainSubstring(instance))
	Eventually(func(g Gomega) {
		g.Expect(verb(ctx, u.d, 0, "instances", "list")).NotTo(ContainSubstring(instance))
	}).WithTimeout(time.Minute).Should(Succeed())
	u.traffic.rounds(ctx, 2)
}

func (u *upgrade) stop(ctx SpecContext) {
	u.traffic.to(clientOf(u.newer))
	u.older.Process().Signal(syscall.SIGTERM)
	code, err := u.older.Process().Wait(ctx)
	Expect(err).NotTo(HaveOccurred())
	Expect(code).To(BeZero())
	u.traffic.rounds(ctx, 4)
	u.traffic.end()
	Expect(logged.FindAllString(u.older.Process().Stdout()+u.older.Process().Stderr(), -1)).To(BeEmpty())
}

// logged matches the lines of a log that are errors.
var logged = regexp.MustCompile(`.*"level":"ERROR".*`)

func (u *upgrade) back(ctx SpecContext) {
	again := u.addOlder(ctx, "older again")
	client := clientOf(again)
	u.traffic = &traffic{d: u.d}
	u.traffic.to(client)
	u.traffic.begin(1)
	u.traffic.rounds(ctx, 1)
	u.traffic.end()
	again.Kill()
}

func (u *upgrade) clean(ctx SpecContext) {
	client := clientOf(u.newer)
	Expect(ask[string](ctx, connect(ctx, u.before.credentials), `select what from cargo`)).To(Equal("Rope"))
	_, err := client.Unbind(ctx, u.beforeInstance, u.before.id, osbclient.DeleteRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
	_, err = open(ctx, u.before.credentials)
	Expect(err).To(refusedAs("invalid_password"))
	_, err = client.Deprovision(ctx, u.beforeInstance, osbclient.DeleteRequest{ServiceID: database, PlanID: small})
	Expect(err).NotTo(HaveOccurred())
	Expect(verb(ctx, u.d, 0, "instances", "list", "--output", "json")).To(MatchJSON(`[]`))
	// The older release leaves what it does not know to this release's reconciliation.
	Eventually(func() (string, error) {
		r, err := u.d.Verb(ctx, "orphans", "--output", "json")
		return r.Stdout, err
	}).WithTimeout(time.Minute).WithPolling(time.Second).Should(MatchJSON(`[]`))
	Expect(u.d.VaultTree(ctx)).To(BeEmpty())
}

// traffic is a group of platforms that create, use and delete databases without a pause.
// Each request goes to a random broker, and none may fail.
type traffic struct {
	d       *rig.Deployment
	mu      sync.Mutex
	clients []*osbclient.Client
	done    int
	failed  error
	over    bool
	all     sync.WaitGroup
}

// to directs further requests to these brokers.
func (t *traffic) to(clients ...*osbclient.Client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clients = clients
}

func (t *traffic) client() *osbclient.Client {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clients[rand.IntN(len(t.clients))]
}

func (t *traffic) begin(platforms int) {
	ctx := context.Background() // complete every round that has begun
	for range platforms {
		t.all.Go(func() {
			for t.goesOn() {
				err := t.round(ctx)
				t.mu.Lock()
				t.done++
				t.failed = errors.Join(t.failed, err)
				t.mu.Unlock()
			}
		})
	}
}

func (t *traffic) goesOn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over && t.failed == nil
}

// rounds waits until this many more rounds are complete.
func (t *traffic) rounds(ctx context.Context, n int) {
	GinkgoHelper()
	state := func() (int, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		return t.done, t.failed
	}
	began, _ := state()
	Eventually(ctx, state).WithTimeout(3 * time.Minute).Should(BeNumerically(">=", began+n))
}

// end waits for the rounds in progress.
func (t *traffic) end() {
	GinkgoHelper()
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.all.Wait()
	Expect(t.failed).NotTo(HaveOccurred())
}

// round creates an instance with a binding, uses it and deletes both.
func (t *traffic) round(ctx context.Context) error {
	instance, binding := uuid.NewString(), uuid.NewString()
	made, err := t.client().Provision(ctx, instance, provisionSmall())
	if err == nil && made.Accepted() {
		_, err = t.client().WaitInstance(ctx, instance, osbclient.Poll{Operation: made.Operation})
	}
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	bound, err := t.client().Bind(ctx, instance, binding, osbclient.BindRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true})
	if err == nil && bound.Accepted() {
		if _, err = t.client().WaitBinding(ctx, instance, binding, osbclient.Poll{Operation: bound.Operation}); err == nil {
			bound, err = t.client().FetchBinding(ctx, instance, binding, "", "")
		}
	}
	if err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := t.d.Secrets.AddCredentials("binding "+binding, bound.Credentials); err != nil {
		return err
	}
	conn, err := open(ctx, bound.Credentials)
	if err != nil {
		return fmt.Errorf("use: %w", err)
	}
	_ = conn.Close()
	remove := osbclient.DeleteRequest{ServiceID: database, PlanID: small, AcceptsIncomplete: true}
	gone, err := t.client().Unbind(ctx, instance, binding, remove)
	if err == nil && gone.Accepted() {
		_, err = t.client().WaitBinding(ctx, instance, binding, osbclient.Poll{Operation: gone.Operation, Deletion: true})
	}
	if err != nil {
		return fmt.Errorf("unbind: %w", err)
	}
	if conn, err := open(ctx, bound.Credentials); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		if err == nil {
			_ = conn.Close()
		}
		return fmt.Errorf("a revoked login is not refused: %w", err)
	}
	gone, err = t.client().Deprovision(ctx, instance, remove)
	if err == nil && gone.Accepted() {
		_, err = t.client().WaitInstance(ctx, instance, osbclient.Poll{Operation: gone.Operation, Deletion: true})
	}
	if err != nil {
		return fmt.Errorf("deprovision: %w", err)
	}
	return nil
}
