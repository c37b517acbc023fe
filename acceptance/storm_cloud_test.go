package acceptance_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// shortKills is how often a storm on the cloud kills a replica, unless CHANDLER_STORM_KILLS asks for
// a longer one. An operation there takes seconds.
const shortKills = 3

var _ = Describe("Two replicas on OpenStack and Ceph", Ordered, func() {
	s := &storm{backends: cloudBackends(), platformsEach: 1, slow: true}
	BeforeAll(func(ctx SpecContext) {
		var err error
		s.kills, err = strconv.Atoi(setting("CHANDLER_STORM_KILLS", strconv.Itoa(shortKills)))
		Expect(err).NotTo(HaveOccurred())
		if s.kills > shortKills {
			s.platformsEach, s.least = 2, 10
		}
		s.setUp(ctx)
		s.addCloudChaos()
		s.addPlatforms(ctx)
	}, NodeTimeout(20*time.Minute))
	s.specs()
	It("leave no project and no user in Keystone", func(ctx SpecContext) {
		Eventually(s.d.Keystone.Holds).WithContext(ctx).WithTimeout(time.Minute).Should(BeEmpty(), s.repeat())
	})
})

// cloudBackends are those whose clients this process can be: only root mounts shares, with
// /dev/fuse.
func cloudBackends() []string {
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err == nil {
		_ = f.Close()
		if os.Geteuid() == 0 {
			return rig.CloudBackends()
		}
	}
	return slices.DeleteFunc(rig.CloudBackends(), func(name string) bool { return name == "manila" })
}

// addCloudChaos adds two sources of faults: one for the brokers, and one for all servers, because
// what happens to Keystone happens to those that use it. A short storm has only what is over at
// once.
func (s *storm) addCloudChaos() {
	replicas := &replicas{d: s.d, brokers: s.brokers}
	own, servers := []event{replicas.killed()}, []event{}
	users := slices.DeleteFunc(slices.Clone(s.offers), func(o *offer) bool { return o.backend == "rgw" })
	if s.kills > shortKills {
		own = replicas.events()
	}
	add := func(server *rig.Server, users ...*offer) {
		if s.kills > shortKills {
			servers = append(servers, serverEvents(server, users...)...)
		} else {
			servers = append(servers, faultOf(server, cut(server), users))
		}
	}
	add(s.d.Keystone, users...)
	for _, o := range s.offers {
		add(o.server, o)
	}
	s.addSources(own, servers)
}

// wholeLife does everything once to an instance, so that a short storm has all of it.
func (p *platform) wholeLife(ctx context.Context) error {
	for len(p.instances) == 0 {
		if err := p.addInstance(ctx); err != nil {
			return err
		}
	}
	i := p.instances[0]
	for len(i.bindings) == 0 {
		if err := p.addBinding(ctx, i, nil); err != nil {
			return err
		}
	}
	if err := p.rotate(ctx, i); err != nil {
		return err
	}
	if err := p.update(ctx, i, p.offer.other(i.plan)); err != nil {
		return err
	}
	for len(p.sharedIDs) == 0 {
		if err := p.visitShared(ctx); err != nil {
			return err
		}
	}
	return p.dropInstance(ctx, i)
}
