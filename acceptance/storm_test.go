package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// storm is two replicas, platforms that use them, and everything breaking.
type storm struct {
	// backends are those of the platforms, and platformsEach is how many use each of them.
	backends      []string
	platformsEach int
	// slow says that most operations take longer than a request can wait.
	slow bool
	// least is how many operations the platforms of a backend request at least, on average.
	least int
	// kills is how often a replica is killed at least.
	kills int

	d             *rig.Deployment
	brokers       []*rig.Broker
	seed          uint64
	duration      time.Duration
	offers        []*offer
	platforms     []*platform
	shared        map[*offer]*heldInstance
	chaos         []*chaos
	interruptions *interruptions
}

var _ = Describe("Two replicas", Ordered, func() {
	s := &storm{platformsEach: 3, least: 20}
	BeforeAll(func(ctx SpecContext) {
		var err error
		s.duration, err = time.ParseDuration(setting("CHANDLER_STORM_DURATION", "50s"))
		Expect(err).NotTo(HaveOccurred())
		s.backends = strings.Split(setting("CHANDLER_STORM_BACKENDS", strings.Join(rig.Backends(), ",")), ",")
		s.setUp(ctx)
		s.addChaos()
		s.addPlatforms(ctx)
	}, NodeTimeout(20*time.Minute))
	s.specs()
})

// specs are what must hold in every storm.
func (s *storm) specs() {
	It("complete every operation, whatever breaks", s.rage, NodeTimeout(20*time.Minute))
	It("continue an interrupted operation within 60 s", s.tookUp)
	It("list exactly what the platforms hold", s.agree)
	It("have exactly what the state lists on the backends", s.noOrphans)
	It("clean up after failed creates", s.cleanedUp)
	It("keep credentials and data working, and refuse revoked credentials", s.credentials, NodeTimeout(5*time.Minute))
	It("store in Vault what bindings need, and nothing else", s.vault)
	It("leave nothing behind when the platforms leave", s.leave, NodeTimeout(10*time.Minute))
	It("leaves no secret in a wrong place", func(ctx SpecContext) { expectOrderlyEnd(ctx, s.d) })
}

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
	catalog, err := wideCatalog(ctx, s.backends)
	Expect(err).NotTo(HaveOccurred())
	s.d = deploy(ctx, rig.Options{Vault: vaultBinary, Backends: s.backends, Catalog: catalog, Environment: map[string]string{
		// Short waits and few workers: more is in progress when something breaks.
		"CHANDLER_ASYNC_WAIT": "500ms", "CHANDLER_SYNC_WAIT": "2s", "CHANDLER_KEEP_EVERY": "2s", "CHANDLER_WORKERS": "4",
		"CHANDLER_DELETE_AGAIN": lateWrites.String(),
	}})
	for _, name := range []string{"one", "two"} {
		s.brokers = append(s.brokers, addBroker(ctx, s.d, name, nil))
	}
	s.offers, err = offers(ctx, s.d)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(s.closeDrivers)
	s.interruptions = &interruptions{stateURL: s.d.StateURL, waiting: map[string]interruption{}}
}

func (s *storm) closeDrivers() {
	for _, o := range s.offers {
		Expect(o.driver.Close()).To(Succeed())
	}
}

// addChaos adds concurrent sources of faults: one for the brokers, their state and Vault,
// and one for each backend's server.
func (s *storm) addChaos() {
	var events []event
	for _, o := range s.offers {
		events = append(events, serverEvents(o.server, o)...)
	}
	half := len(s.offers) / 2 * serverFaults
	replicas := &replicas{d: s.d, brokers: s.brokers}
	s.addSources(replicas.events(), events[:half], events[half:])
	s.chaos[0].between = replicas.killed()
}

// addSources adds a concurrent source of faults for each list of events.
func (s *storm) addSources(lists ...[]event) {
	for n, events := range lists {
		if len(events) == 0 { // there is one backend only
			continue
		}
		c := &chaos{
			events: events, rand: rand.New(rand.NewPCG(s.seed, uint64(1000+n))),
			interrupted: s.interruptions.note, done: map[string]int{},
		}
		s.chaos = append(s.chaos, c)
	}
	s.chaos[0].kills = s.kills
}

func (s *storm) addPlatforms(ctx context.Context) {
	s.shared = map[*offer]*heldInstance{}
	for _, o := range s.offers {
		for range s.platformsEach {
			n := len(s.platforms)
			p, err := newPlatform(s.d, s.brokers, o, n, s.seed)
			Expect(err).NotTo(HaveOccurred())
			if s.slow {
				p.async, p.first = 95, p.wholeLife
			}
			for made := s.shared[o] != nil; !made; { // on a busy machine, a request may take too long
				s.shared[o] = p.newInstance(o.plans[1].id)
				made, err = p.provision(ctx, s.shared[o])
				Expect(err).NotTo(HaveOccurred(), o.backend)
			}
			// Each platform records its own failed binds.
			p.shared = &heldInstance{id: s.shared[o].id, plan: s.shared[o].plan, bindings: p.sharedIDs, failed: p.sharedBad}
			s.platforms = append(s.platforms, p)
		}
	}
}

// repeat returns the command that repeats the storm.
func (s *storm) repeat() string {
	return fmt.Sprintf("CHANDLER_STORM_SEED=%d CHANDLER_STORM_DURATION=%s CHANDLER_STORM_KILLS=%d", s.seed, s.duration, s.kills)
}

// expect fails if there are faults; each fault begins with the name of a backend.
func (s *storm) expect(ctx context.Context, faults ...error) {
	GinkgoHelper()
	Expect(errors.Join(faults...)).To(Succeed(), func() string {
		r, err := s.d.Verb(ctx, "operations", "list", "--unfinished", "--output", "json")
		return fmt.Sprintf("%s\nin progress: %s%s (error %v)", s.repeat(), r.Stdout, r.Stderr, err)
	})
}

func (s *storm) rage(ctx SpecContext) {
	AddReportEntry("storm", s.repeat())
	watching, stopWatching := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { s.interruptions.watch(watching) })

	stop := make(chan struct{})
	faults := make([]error, len(s.platforms))
	var working, breaking sync.WaitGroup
	for n, p := range s.platforms {
		working.Go(func() { faults[n] = p.work(ctx, stop) })
	}
	broken := make([]error, len(s.chaos))
	for n, c := range s.chaos {
		breaking.Go(func() { broken[n] = c.rage(ctx, s.duration) })
	}
	breaking.Wait()
	close(stop)
	working.Wait()
	s.expect(ctx, append(broken, faults...)...)
	s.calm(ctx)
	stopWatching()
	watch.Wait()
	s.count()
}

// calm waits until all parts are ready and no operation is in progress.
func (s *storm) calm(ctx context.Context) {
	GinkgoHelper()
	for _, b := range s.brokers {
		Eventually(func() (string, error) {
			code, body, err := b.Page(ctx, "/readyz")
			if code == http.StatusOK && !strings.Contains(body, `"ready":false`) { // of a part
				body = "ready"
			}
			return body, err
		}).WithTimeout(stuck).Should(Equal("ready"), s.repeat())
	}
	Eventually(func() string { return verb(ctx, s.d, 0, "operations", "list", "--unfinished", "--output", "json") }).
		WithTimeout(stuck).WithPolling(time.Second).Should(MatchJSON(`[]`), s.repeat())
}

// count checks that enough happened on each backend.
func (s *storm) count() {
	verbs, total := map[*offer]map[string]int{}, 0
	for _, p := range s.platforms {
		if verbs[p.offer] == nil {
			verbs[p.offer] = map[string]int{}
		}
		for verb, n := range p.done {
			verbs[p.offer][verb] += n
			total += n
		}
	}
	for _, o := range s.offers {
		AddReportEntry("done with "+o.backend, fmt.Sprint(verbs[o]))
		for _, verb := range []string{"provision", "bind", "update", "unbind", "deprovision"} {
			Expect(verbs[o]).To(HaveKey(verb), "%s: %s", o.backend, s.repeat())
		}
	}
	Expect(total).To(BeNumerically(">", s.least*len(s.offers)), s.repeat())
	for _, c := range s.chaos {
		AddReportEntry("broken", fmt.Sprint(c.done))
		for _, e := range c.events {
			Expect(c.done).To(HaveKey(e.name), s.repeat())
		}
	}
	Expect(s.chaos[0].done[replicaKilled]).To(BeNumerically(">=", s.kills), s.repeat())
}

func (s *storm) tookUp(ctx SpecContext) {
	slow, err := s.interruptions.longest(ctx)
	Expect(err).NotTo(HaveOccurred())
	AddReportEntry("operations that took longest", slow)
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
	Expect(slowest[0].after).To(BeNumerically("<", time.Minute), "%s\n%s", text, s.repeat())
}
