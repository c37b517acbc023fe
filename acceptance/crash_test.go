package acceptance_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/services"
)

// storm is two replicas, platforms that use them, and everything breaking.
type storm struct {
	d             *rig.Deployment
	brokers       []*rig.Broker
	seed          uint64
	platforms     []*platform
	shared        *heldInstance
	chaos         *chaos
	interruptions *interruptions
}

const platforms = 8

var _ = Describe("Two replicas", Ordered, func() {
	s := &storm{}
	BeforeAll(s.setUp)
	It("bring every operation to its end, whatever breaks", s.rage, NodeTimeout(20*time.Minute))
	It("take an interrupted operation up within 60 s", s.tookUp)
	It("know of exactly what the platforms hold", s.agree)
	It("hold on the backends exactly what the state says", s.noOrphans)
	It("have cleaned up after creates that failed", s.cleanedUp)
	It("keep live credentials working, and revoked ones not", s.credentials)
	It("keep in Vault what live bindings need, and nothing else", s.vault)
	It("leave nothing behind when the platforms leave", s.leave)
	It("left no secret where none belongs", func(ctx SpecContext) { expectOrderlyEnd(ctx, s.d) })
})

// setting reads an environment variable of this suite.
func setting(name string, otherwise string) string {
	if text := os.Getenv(name); text != "" {
		return text
	}
	return otherwise
}

func (s *storm) setUp(ctx SpecContext) {
	var err error
	s.seed, err = strconv.ParseUint(setting("CHANDLER_STORM_SEED", strconv.FormatInt(GinkgoRandomSeed(), 10)), 10, 64)
	Expect(err).NotTo(HaveOccurred())
	s.d = deploy(ctx, rig.Options{Vault: vaultBinary, Environment: map[string]string{
		// Short waits and few workers: more is in progress when something breaks.
		"CHANDLER_ASYNC_WAIT": "500ms", "CHANDLER_SYNC_WAIT": "2s", "CHANDLER_KEEP_EVERY": "2s", "CHANDLER_WORKERS": "16",
	}})
	for _, name := range []string{"one", "two"} {
		s.brokers = append(s.brokers, addBroker(ctx, s.d, name, nil))
	}
	s.interruptions = &interruptions{stateURL: s.d.StateURL, waiting: map[string]interruption{}}
	s.chaos = &chaos{
		d: s.d, brokers: s.brokers, rand: rand.New(rand.NewPCG(s.seed, 0)), interrupted: s.interruptions.note, done: map[string]int{},
	}
	for n := range uint64(platforms) {
		p, err := newPlatform(s.d, s.brokers, s.seed+n)
		Expect(err).NotTo(HaveOccurred())
		s.platforms = append(s.platforms, p)
	}
	s.shared = s.platforms[0].newInstance(medium)
	Expect(s.platforms[0].provision(ctx, s.shared)).To(BeTrue())
	for _, p := range s.platforms { // each one's failed binds are its own to note
		p.shared = &heldInstance{id: s.shared.id, plan: s.shared.plan, bindings: p.sharedIDs, failed: p.sharedBad}
	}
}

func (s *storm) rage(ctx SpecContext) {
	duration, err := time.ParseDuration(setting("CHANDLER_STORM_DURATION", "75s"))
	Expect(err).NotTo(HaveOccurred())
	AddReportEntry("storm", fmt.Sprintf("CHANDLER_STORM_SEED=%d CHANDLER_STORM_DURATION=%s", s.seed, duration))
	watching, stopWatching := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() { s.interruptions.watch(watching) })

	stop := make(chan struct{})
	faults := make([]error, len(s.platforms))
	var working sync.WaitGroup
	for n, p := range s.platforms {
		working.Go(func() { faults[n] = p.work(ctx, stop) })
	}
	chaosFault := s.chaos.rage(ctx, duration)
	close(stop)
	working.Wait()
	Expect(chaosFault).NotTo(HaveOccurred())
	Expect(faults).To(HaveEach(Succeed()))
	s.calm(ctx)
	stopWatching()
	all.Wait()
	s.count()
}

// calm waits until all parts answer and nothing is in progress.
func (s *storm) calm(ctx context.Context) {
	GinkgoHelper()
	for _, b := range s.brokers {
		Eventually(func() (int, error) {
			code, _, err := b.Page(ctx, "/readyz")
			return code, err
		}).WithTimeout(time.Minute).Should(Equal(http.StatusOK))
	}
	Eventually(func() string { return verb(ctx, s.d, 0, "operations", "list", "--unfinished", "--output", "json") }).
		WithTimeout(time.Minute).WithPolling(time.Second).Should(MatchJSON(`[]`))
}

func (s *storm) count() {
	verbs := map[string]int{}
	total := 0
	for _, p := range s.platforms {
		for verb, n := range p.done {
			verbs[verb] += n
			total += n
		}
	}
	AddReportEntry("done", fmt.Sprintf("%d: %v", total, verbs))
	AddReportEntry("broken", fmt.Sprint(s.chaos.done))
	Expect(total).To(BeNumerically(">", 300))
	for _, e := range s.chaos.events() {
		Expect(s.chaos.done).To(HaveKey(e.name))
	}
}

func (s *storm) tookUp(ctx SpecContext) {
	Expect(s.interruptions.look(ctx)).To(Succeed())
	Expect(s.interruptions.ids()).To(BeEmpty())
	slowest := s.interruptions.slowest()
	Expect(slowest).NotTo(BeEmpty())
	text := fmt.Sprintf("%d interrupted; went on after %s at the median, %s at worst", len(slowest),
		slowest[len(slowest)/2].after.Round(time.Millisecond), slowest[0].after.Round(time.Millisecond))
	for _, w := range slowest[:min(5, len(slowest))] {
		text += fmt.Sprintf("\n  %s after: %s (operation %s)", w.after.Round(time.Millisecond), w.what, w.operation)
	}
	AddReportEntry("interruptions", text)
	Expect(slowest[0].after).To(BeNumerically("<", time.Minute), text)
}

// listed is what chandler's lists and the platforms have in common.
type listed struct {
	ID, Plan, Status string
}

func (s *storm) list(ctx context.Context, noun string) []listed {
	GinkgoHelper()
	rows := []listed{}
	Expect(json.Unmarshal([]byte(verb(ctx, s.d, 0, noun, "list", "--output", "json")), &rows)).To(Succeed())
	return rows
}

// held are all live instances with their bindings.
func (s *storm) held() []*heldInstance {
	shared := &heldInstance{id: s.shared.id, plan: s.shared.plan, bindings: map[string]*heldBinding{}, failed: map[string]bool{}}
	all := []*heldInstance{shared}
	for _, p := range s.platforms {
		all = append(all, p.instances...)
		maps.Copy(shared.bindings, p.sharedIDs)
		maps.Copy(shared.failed, p.sharedBad)
	}
	return all
}

func (s *storm) agree(ctx SpecContext) {
	names := map[string]string{small: "postgres-small", medium: "postgres-medium"}
	var instances, bindings []listed
	for _, i := range s.held() {
		instances = append(instances, listed{i.id, names[i.plan], "ready"})
		for id := range i.bindings {
			bindings = append(bindings, listed{ID: id, Status: "ready"})
		}
		for id := range i.failed {
			bindings = append(bindings, listed{ID: id, Status: "create_failed"})
		}
	}
	for _, p := range s.platforms {
		for _, i := range p.failed {
			instances = append(instances, listed{i.id, names[i.plan], "create_failed"})
		}
	}
	Expect(s.list(ctx, "instances")).To(ConsistOf(instances))
	Expect(s.list(ctx, "bindings")).To(ConsistOf(bindings))
}

// cleanedUp looks on the tenants' server for what failed creates would have left.
func (s *storm) cleanedUp(ctx SpecContext) {
	there, err := leftOnServer(ctx, s.d)
	Expect(err).NotTo(HaveOccurred())
	failed := 0
	for _, i := range s.held() {
		for id := range i.failed {
			failed++
			Expect(there).NotTo(ContainElement(ContainSubstring(services.BindingName(i.id, id))), "binding %s", id)
		}
	}
	for _, p := range s.platforms {
		for _, i := range p.failed {
			failed++
			Expect(there).NotTo(ContainElement(ContainSubstring(services.InstanceName(i.id))), "instance %s", i.id)
		}
	}
	AddReportEntry("failed creates", fmt.Sprintf("%d looked for", failed))
}

func (s *storm) noOrphans(ctx SpecContext) {
	Expect(verb(ctx, s.d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`))
}

func (s *storm) credentials(ctx SpecContext) {
	live, revoked := 0, 0
	for _, i := range s.held() {
		for _, b := range i.bindings {
			live++
			Expect(tryOut(ctx, b)).To(Succeed(), "binding %s of instance %s", b.id, i.id)
			fetched, err := s.platforms[0].client().FetchBinding(ctx, i.id, b.id, "", "")
			Expect(err).NotTo(HaveOccurred())
			Expect(fetched.Credentials).To(Equal(b.credentials))
		}
	}
	for _, p := range s.platforms {
		for _, b := range p.revoked {
			revoked++
			Expect(tryOut(ctx, b)).NotTo(Succeed(), "binding %s", b.id)
		}
	}
	AddReportEntry("credentials", fmt.Sprintf("%d live, %d revoked", live, revoked))
	Expect(live).To(BeNumerically(">", 0))
	Expect(revoked).To(BeNumerically(">", 0))
}

func (s *storm) vault(ctx SpecContext) {
	paths := []string{}
	for _, i := range s.held() {
		for id := range i.bindings {
			folder := path.Join("instances", i.id, "bindings", id)
			paths = append(paths, folder+"/credentials", folder+"/seed")
		}
	}
	Expect(s.d.VaultTree(ctx)).To(ConsistOf(paths))
}

func (s *storm) leave(ctx SpecContext) {
	for _, p := range s.platforms {
		Expect(p.leave(ctx)).To(Succeed())
	}
	Expect(s.platforms[0].deprovision(ctx, s.shared)).To(Succeed())
	s.shared.bindings = nil
	Expect(s.list(ctx, "instances")).To(BeEmpty())
	Expect(s.list(ctx, "bindings")).To(BeEmpty())
	Expect(s.d.VaultTree(ctx)).To(BeEmpty())
	Expect(leftOnServer(ctx, s.d)).To(BeEmpty())
}

// leftOnServer are the databases and roles on the tenants' server that are
// neither its own nor spares.
func leftOnServer(ctx context.Context, d *rig.Deployment) ([]string, error) {
	conn, err := pgx.Connect(ctx, d.Tenants.URL("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, _ := conn.Query(ctx, `select datname from pg_database union select rolname from pg_roles`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.Contains([]string{"postgres", "template0", "template1", "administrator"}, name) ||
			strings.HasPrefix(name, "pg_") || strings.HasPrefix(name, "c_spare_")
	}), err
}
