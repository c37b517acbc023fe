package acceptance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/services"
)

// listed is what the lists of chandler and the platforms can compare.
type listed struct {
	ID, Plan, Status string
}

func (s *storm) list(ctx context.Context, noun string) []listed {
	GinkgoHelper()
	rows := []listed{}
	Expect(json.Unmarshal([]byte(verb(ctx, s.d, 0, noun, "list", "--output", "json")), &rows)).To(Succeed())
	return rows
}

// held returns all instances of a backend with their bindings.
func (s *storm) held(o *offer) []*heldInstance {
	shared := &heldInstance{id: s.shared[o].id, plan: s.shared[o].plan, bindings: map[string]*heldBinding{}, failed: map[string]bool{}}
	all := []*heldInstance{shared}
	for _, p := range s.users(o) {
		all = append(all, p.instances...)
		maps.Copy(shared.bindings, p.sharedIDs)
		maps.Copy(shared.failed, p.sharedBad)
	}
	return all
}

// users are the platforms that use a backend.
func (s *storm) users(o *offer) []*platform {
	return slices.DeleteFunc(slices.Clone(s.platforms), func(p *platform) bool { return p.offer != o })
}

// together runs a function for all platforms of a backend in parallel.
func (s *storm) together(o *offer, do func(*platform) error) error {
	users := s.users(o)
	faults := make([]error, len(users))
	var all sync.WaitGroup
	for n, p := range users {
		all.Go(func() { faults[n] = do(p) })
	}
	all.Wait()
	return errors.Join(faults...)
}

// each runs a function for all backends in parallel; its error names the backend.
func (s *storm) each(ctx context.Context, do func(*offer) error) {
	GinkgoHelper()
	faults := make([]error, len(s.offers))
	var all sync.WaitGroup
	for n, o := range s.offers {
		all.Go(func() {
			if err := do(o); err != nil {
				faults[n] = fmt.Errorf("backend %s: %w", o.backend, err)
			}
		})
	}
	all.Wait()
	s.expect(ctx, faults...)
}

func (s *storm) agree(ctx SpecContext) {
	instances, bindings := s.list(ctx, "instances"), s.list(ctx, "bindings")
	var wantInstances, wantBindings []listed
	for _, o := range s.offers {
		for _, i := range s.held(o) {
			wantInstances = append(wantInstances, listed{i.id, o.name(i.plan), "ready"})
			for id := range i.bindings {
				wantBindings = append(wantBindings, listed{ID: id, Status: "ready"})
			}
			for id := range i.failed {
				wantBindings = append(wantBindings, listed{ID: id, Status: "create_failed"})
			}
		}
		for _, p := range s.users(o) {
			for _, i := range p.failed {
				wantInstances = append(wantInstances, listed{i.id, o.name(i.plan), "create_failed"})
			}
		}
	}
	Expect(instances).To(ConsistOf(wantInstances), s.repeat())
	Expect(bindings).To(ConsistOf(wantBindings), s.repeat())
}

func (s *storm) noOrphans(ctx SpecContext) {
	Expect(verb(ctx, s.d, 0, "orphans", "--output", "json")).To(MatchJSON(`[]`), s.repeat())
}

// cleanedUp searches each server for leftovers of failed creates, and for what the
// platforms hold.
func (s *storm) cleanedUp(ctx SpecContext) {
	s.each(ctx, func(o *offer) error {
		wantInstances, wantBindings := map[string]bool{}, map[string]bool{}
		for _, i := range s.held(o) {
			wantInstances[services.InstanceName(i.id)] = true
			for id := range i.bindings {
				wantBindings[services.BindingName(i.id, id)] = true
			}
		}
		instances, bindings, err := o.list(ctx)
		if err != nil {
			return err
		}
		if diff := cmp.Diff(wantInstances, instances) + cmp.Diff(wantBindings, bindings); diff != "" {
			return fmt.Errorf("the server's resources differ from what the platforms hold (-held +found):\n%s", diff)
		}
		names, err := o.server.Holds(ctx)
		if err == nil && len(names) < len(wantInstances) {
			return fmt.Errorf("the server has only %v", names)
		}
		return err
	})
	failed := 0
	for _, p := range s.platforms {
		failed += len(p.failed) + len(p.sharedBad)
		for _, i := range p.instances {
			failed += len(i.failed)
		}
	}
	AddReportEntry("failed creates", fmt.Sprintf("%d looked for", failed))
}

func (s *storm) credentials(ctx SpecContext) {
	s.each(ctx, func(o *offer) error {
		var live, revoked atomic.Int64
		err := s.together(o, func(p *platform) error {
			n, err := p.proveLive(ctx)
			live.Add(int64(n))
			revoked.Add(int64(len(p.revoked)))
			return errors.Join(err, p.proveRevoked(ctx, p.revoked))
		})
		AddReportEntry("credentials of "+o.backend, fmt.Sprintf("%d live, %d revoked", live.Load(), revoked.Load()))
		if live.Load() == 0 || revoked.Load() == 0 {
			err = errors.Join(err, errors.New("there must be live and revoked credentials, or the test proves nothing"))
		}
		return err
	})
}

// proveLive tries all of the platform's credentials, and reads the data in each of its
// instances.
func (p *platform) proveLive(ctx context.Context) (live int, err error) {
	var faults []error
	for _, i := range append(slices.Clone(p.instances), p.shared) {
		if i.cargo != "" && !slices.ContainsFunc(slices.Collect(maps.Values(i.bindings)), func(b *heldBinding) bool { return !b.reader }) {
			faults = append(faults, p.addWriter(ctx, i))
		}
		for _, b := range i.bindings {
			live++
			faults = append(faults, p.proveBinding(ctx, i, b))
		}
	}
	return live, errors.Join(faults...)
}

// addWriter creates the binding through which an instance's data can be read.
func (p *platform) addWriter(ctx context.Context, i *heldInstance) error {
	b, err := p.bind(ctx, i, osbclient.BindRequest{}, false)
	if b != nil {
		i.bindings[b.id] = b
	}
	return err
}

func (p *platform) proveBinding(ctx context.Context, i *heldInstance, b *heldBinding) error {
	if err := p.works(ctx, i, b, p.unload(i, b)); err != nil {
		return err
	}
	fetched, err := p.fetch(ctx, i, b)
	if err != nil {
		return err
	}
	if !cmp.Equal(fetched.Credentials, b.credentials) || string(fetched.VolumeMounts) != b.mounts {
		return fmt.Errorf("the credentials of binding %s have changed", b.id)
	}
	return nil
}

// proveRevoked tries revoked credentials, several at a time, because a server may take
// seconds to refuse.
func (p *platform) proveRevoked(ctx context.Context, revoked []*heldBinding) error {
	faults := make([]error, len(revoked))
	limit := make(chan struct{}, 8)
	var all sync.WaitGroup
	for n, b := range revoked {
		all.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			if p.offer.tryOut(ctx, b) == nil {
				faults[n] = fmt.Errorf("binding %s works although it was revoked", b.id)
			}
		})
	}
	all.Wait()
	return errors.Join(faults...)
}

func (s *storm) vault(ctx SpecContext) {
	paths := []string{}
	for _, o := range s.offers {
		for _, i := range s.held(o) {
			for id := range i.bindings {
				folder := path.Join("instances", i.id, "bindings", id)
				paths = append(paths, folder+"/credentials", folder+"/seed")
				if o.mounts {
					paths = append(paths, folder+"/volume-mounts")
				}
			}
		}
	}
	Expect(s.d.VaultTree(ctx)).To(ContainElements(paths), s.repeat())
	s.vaultHolds(ctx, ConsistOf(paths))
}

// lateWrites is how long a killed replica's write to Vault may take to arrive; no fault
// lasts longer.
const lateWrites = 15 * time.Second

// vaultHolds waits until the brokers have deleted late writes: in rounds, each deletes
// again what was deleted lateWrites ago.
func (s *storm) vaultHolds(ctx SpecContext, what types.GomegaMatcher) {
	Eventually(s.d.VaultTree).WithContext(ctx).WithTimeout(3*time.Minute).WithPolling(time.Second).Should(what, s.repeat())
}

func (s *storm) leave(ctx SpecContext) {
	s.each(ctx, func(o *offer) error {
		if err := s.together(o, func(p *platform) error { return p.leave(ctx) }); err != nil {
			return err
		}
		return s.users(o)[0].deprovision(ctx, s.shared[o])
	})
	Expect(s.list(ctx, "instances")).To(BeEmpty(), s.repeat())
	Expect(s.list(ctx, "bindings")).To(BeEmpty(), s.repeat())
	s.vaultHolds(ctx, BeEmpty())
	s.noOrphans(ctx)
	for _, o := range s.offers {
		// A server may remove its files a moment after it has answered.
		Eventually(o.server.Holds).WithContext(ctx).WithTimeout(time.Minute).Should(BeEmpty(), "%s: %s", o.backend, s.repeat())
	}
}
