package acceptance_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// most is the maximum of instances that a platform holds, and of bindings of an instance.
const most = 3

// work performs actions until stop is closed, and completes the last one. The error
// names the backend.
func (p *platform) work(ctx context.Context, stop <-chan struct{}) error {
	if p.first != nil {
		if err := p.first(ctx); err != nil {
			return fmt.Errorf("backend %s: %w", p.offer.backend, err)
		}
	}
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		if err := p.act(ctx); err != nil {
			return fmt.Errorf("backend %s: %w", p.offer.backend, err)
		}
	}
}

func (p *platform) act(ctx context.Context) error {
	if len(p.instances) == 0 || len(p.instances) < most && p.chance(20) {
		return p.addInstance(ctx)
	}
	i := p.instances[p.rand.IntN(len(p.instances))]
	switch n := p.rand.IntN(100); {
	case n < 30:
		return p.addBinding(ctx, i, nil)
	case n < 50:
		return p.dropBinding(ctx, i)
	case n < 60:
		return p.rotate(ctx, i)
	case n < 70:
		return p.update(ctx, i, p.offer.other(i.plan))
	case n < 80:
		return p.visitShared(ctx)
	case n < 86:
		return p.regretInstance(ctx)
	case n < 92:
		return p.regretBinding(ctx, i)
	}
	return p.dropInstance(ctx, i)
}

func (p *platform) newInstance(plan string) *heldInstance {
	return &heldInstance{id: p.newID(), plan: plan, bindings: map[string]*heldBinding{}, failed: map[string]bool{}}
}

// addInstance creates an instance, sometimes with several equal concurrent requests.
func (p *platform) addInstance(ctx context.Context) error {
	i := p.newInstance(p.offer.plans[p.rand.IntN(2)].id)
	var twins sync.WaitGroup
	if p.chance(30) {
		errs := make([]error, 2)
		for n := range errs {
			c := p.client()
			twins.Go(func() {
				_, errs[n] = c.Provision(ctx, i.id, osbclient.ProvisionRequest{
					ServiceID: p.offer.service, PlanID: i.plan, OrganizationGUID: "org", SpaceGUID: "space", AcceptsIncomplete: true,
				})
			})
		}
		twins.Wait()
		for _, err := range errs {
			p.sent(i.id, err)
		}
	}
	made, err := p.provision(ctx, i)
	if made {
		p.instances = append(p.instances, i)
	}
	return err
}

// addBinding creates a binding. If another one is given, the new one replaces it.
func (p *platform) addBinding(ctx context.Context, i *heldInstance, predecessor *heldBinding) error {
	if len(i.bindings) >= most {
		return p.dropBinding(ctx, i)
	}
	r, reader := osbclient.BindRequest{}, false
	if predecessor != nil {
		r.PredecessorBindingID, reader = predecessor.id, predecessor.reader
	} else if p.offer.reader != nil && p.chance(30) {
		r.Parameters, reader = p.offer.reader, true
	}
	b, err := p.bind(ctx, i, r, reader)
	if b != nil {
		i.bindings[b.id] = b
	}
	return err
}

// one returns a random binding, or nil.
func one(r *rand.Rand, bindings map[string]*heldBinding) *heldBinding {
	if len(bindings) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(bindings))
	return bindings[ids[r.IntN(len(ids))]]
}

func (p *platform) dropBinding(ctx context.Context, i *heldInstance) error {
	b := one(p.rand, i.bindings)
	if b == nil {
		return nil
	}
	delete(i.bindings, b.id)
	return p.unbind(ctx, i, b)
}

// rotate replaces a binding, checks that both work, and deletes the old one.
func (p *platform) rotate(ctx context.Context, i *heldInstance) error {
	old := one(p.rand, i.bindings)
	if old == nil {
		return nil
	}
	if err := p.addBinding(ctx, i, old); err != nil {
		return err
	}
	if _, there := i.bindings[old.id]; !there { // it made room
		return nil
	}
	if err := p.works(ctx, i, old, nil); err != nil {
		return fmt.Errorf("the predecessor: %w", err)
	}
	delete(i.bindings, old.id)
	return p.unbind(ctx, i, old)
}

// visitShared binds or unbinds the instance that all platforms share.
func (p *platform) visitShared(ctx context.Context) error {
	if b := one(p.rand, p.sharedIDs); b != nil && (len(p.sharedIDs) > 1 || p.chance(60)) {
		delete(p.sharedIDs, b.id)
		return p.unbind(ctx, p.shared, b)
	}
	b, err := p.bind(ctx, p.shared, osbclient.BindRequest{}, false)
	if b != nil {
		p.sharedIDs[b.id] = b
	}
	return err
}

// regretInstance deletes an instance while it is being created.
func (p *platform) regretInstance(ctx context.Context) error {
	p.done["delete during create"]++
	i, c := p.newInstance(p.offer.plans[0].id), p.client()
	var creating sync.WaitGroup
	creating.Go(func() {
		_, _ = c.Provision(ctx, i.id, osbclient.ProvisionRequest{
			ServiceID: p.offer.service, PlanID: i.plan, OrganizationGUID: "org", SpaceGUID: "space", AcceptsIncomplete: true,
		})
	})
	time.Sleep(p.upTo(60 * time.Millisecond))
	if err := p.deprovision(ctx, i); err != nil {
		return err
	}
	creating.Wait() // the create may have arrived after the delete
	return p.deprovision(ctx, i)
}

// regretBinding deletes a binding while it is being created.
func (p *platform) regretBinding(ctx context.Context, i *heldInstance) error {
	p.done["delete during create"]++
	b, c := &heldBinding{id: p.newID()}, p.client()
	var creating sync.WaitGroup
	creating.Go(func() {
		made, err := c.Bind(ctx, i.id, b.id, osbclient.BindRequest{ServiceID: p.offer.service, PlanID: i.plan, AcceptsIncomplete: true})
		if err == nil && !made.Accepted() {
			b.credentials = made.Credentials
		}
	})
	time.Sleep(p.upTo(30 * time.Millisecond))
	if err := p.unbind(ctx, i, &heldBinding{id: b.id}); err != nil {
		return err
	}
	creating.Wait()
	return p.unbind(ctx, i, b)
}

func (p *platform) dropInstance(ctx context.Context, i *heldInstance) error {
	for len(i.bindings) > 0 {
		if err := p.dropBinding(ctx, i); err != nil {
			return err
		}
	}
	for n, held := range p.instances {
		if held == i {
			p.instances = append(p.instances[:n], p.instances[n+1:]...)
			break
		}
	}
	return p.deprovision(ctx, i)
}

// leave deletes everything that the platform holds, and then checks that the
// credentials no longer work.
func (p *platform) leave(ctx context.Context) error {
	p.leaving = true
	before := len(p.revoked)
	for _, b := range p.sharedIDs {
		if err := p.unbind(ctx, p.shared, b); err != nil {
			return err
		}
	}
	clear(p.sharedIDs)
	for _, i := range p.failed {
		if err := p.deprovision(ctx, i); err != nil {
			return err
		}
	}
	for len(p.instances) > 0 {
		if err := p.dropInstance(ctx, p.instances[0]); err != nil {
			return err
		}
	}
	return p.proveRevoked(ctx, p.revoked[before:])
}
