package acceptance_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// platform behaves like real platforms towards a broker that crashes and restarts: it
// asks any replica, times out, repeats requests that got no answer, and deletes
// everything whose fate it does not know. Only one goroutine uses it. It always knows
// what must exist. All its instances belong to one backend.
type platform struct {
	d       *rig.Deployment
	offer   *offer
	number  int
	clients []*osbclient.Client
	rand    *rand.Rand
	shared  *heldInstance               // another platform's instance, only for binds
	first   func(context.Context) error // its first action; nil: any
	async   int                         // in how many of 100 requests it accepts_incomplete

	instances []*heldInstance
	sharedIDs map[string]*heldBinding // this platform's bindings of shared
	revoked   []*heldBinding
	failed    []*heldInstance // failed creates that the platform did not delete
	sharedBad map[string]bool // failed binds of shared, likewise
	done      map[string]int  // verbs that came to their end
	leaving   bool
	refused   error           // the last answer that was none to go on with
	lost      map[string]bool // IDs whose request got no answer, and may still be in progress
}

type heldInstance struct {
	id, plan string
	cargo    string // the data that load wrote; empty: none yet
	bindings map[string]*heldBinding
	failed   map[string]bool // failed binds that the platform did not delete
	underWay string          // the plan of an update that got no answer, and may arrive yet; empty: none
}

type heldBinding struct {
	id          string
	reader      bool
	credentials map[string]any
	mounts      string // volume mounts, as JSON
}

// patience is how long platforms wait for an answer: some for less than the broker
// expects, most of them for a minute.
var patience = []time.Duration{1500 * time.Millisecond, 10 * time.Second, time.Minute}

func newPlatform(d *rig.Deployment, brokers []*rig.Broker, o *offer, number int, seed uint64) (*platform, error) {
	p := &platform{
		d: d, offer: o, number: number, async: 70, rand: rand.New(rand.NewPCG(seed, uint64(number))),
		sharedIDs: map[string]*heldBinding{}, sharedBad: map[string]bool{}, done: map[string]int{}, lost: map[string]bool{},
	}
	for _, b := range brokers {
		for _, limit := range patience {
			c, err := b.Client(osbclient.Options{HTTP: &http.Client{Timeout: limit, Transport: &http.Transport{}}})
			if err != nil {
				return nil, err
			}
			p.clients = append(p.clients, c)
		}
	}
	return p, nil
}

func (p *platform) client() *osbclient.Client { return p.clients[p.rand.IntN(len(p.clients))] }

// newID returns a UUID that depends only on the seed.
func (p *platform) newID() string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], p.rand.Uint64())
	binary.BigEndian.PutUint64(id[8:], p.rand.Uint64())
	return id.String()
}

func (p *platform) upTo(d time.Duration) time.Duration { return time.Duration(p.rand.Int64N(int64(d))) }

func (p *platform) chance(percent int) bool { return p.rand.IntN(100) < percent }

// verdict is what an answer means to a platform.
type verdict int

const (
	done    verdict = iota // the request succeeded
	gone                   // there is no such thing
	unknown                // no answer, or the broker's own failure
	later                  // something else is in progress
	failed                 // tried in vain
)

// judge classifies an answer. It returns an error if no injected fault explains the
// answer.
func (p *platform) judge(status int, err error) (verdict, error) {
	p.refused = err
	var refused *osbclient.Error
	switch {
	case err == nil:
		return done, nil
	case !errors.As(err, &refused):
		return unknown, nil
	case status == http.StatusGone:
		return gone, nil
	case status >= 500:
		return unknown, nil
	case refused.Code == "ConcurrencyError":
		return later, nil
	}
	return failed, err
}

// stuck is how long an action may take without a fault of the backend's server:
// RabbitMQ may need a minute to start on a busy machine.
const stuck = 4 * time.Minute

// until repeats a step until it is done, with pauses like platforms.
func (p *platform) until(ctx context.Context, what string, step func(context.Context) (over bool, err error)) error {
	breaks, since := p.offer.breaks.Load(), time.Now()
	for {
		over, err := step(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if over {
			return nil
		}
		if now := p.offer.breaks.Load(); now != breaks || now%2 == 1 {
			breaks, since = now, time.Now()
		}
		if time.Since(since) > stuck {
			return fmt.Errorf("%s: stuck for %s; the last answer: %s", what, stuck, fmt.Sprint(p.refused))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(50*time.Millisecond + p.upTo(200*time.Millisecond)):
		}
	}
}

// poll polls an operation until it has ended, and reports whether it succeeded.
func (p *platform) poll(ctx context.Context, instance, binding, operation string, deletion bool) (bool, error) {
	ok := false
	err := p.until(ctx, "poll", func(ctx context.Context) (bool, error) {
		var last osbclient.LastOperation
		var err error
		if binding == "" {
			last, err = p.client().LastOperation(ctx, instance, osbclient.Poll{Operation: operation})
		} else {
			last, err = p.client().LastBindingOperation(ctx, instance, binding, osbclient.Poll{Operation: operation})
		}
		v, err := p.judge(last.Status, err)
		ok = v == done && last.State == osbclient.Succeeded || v == gone && deletion
		return ok || v == done && last.State == osbclient.Failed, err
	})
	return ok, err
}

// provision creates an instance, or gives up and leaves nothing; made says which.
func (p *platform) provision(ctx context.Context, i *heldInstance) (made bool, err error) {
	over := false
	err = p.until(ctx, "provision "+i.id, func(ctx context.Context) (bool, error) {
		c, err := p.client().Provision(ctx, i.id, osbclient.ProvisionRequest{
			ServiceID: p.offer.service, PlanID: i.plan, OrganizationGUID: "org", SpaceGUID: "space", AcceptsIncomplete: p.chance(p.async),
		})
		p.sent(i.id, err)
		v, err := p.judge(c.Status, err)
		if v == done && c.Accepted() {
			ok, err := p.poll(ctx, i.id, "", c.Operation, false)
			if err != nil {
				return false, err
			}
			if !ok {
				v = failed
			}
		}
		switch {
		case v == done:
			made, over = true, true
		case c.Status == http.StatusConflict, v == failed && err == nil, v == unknown && p.chance(50):
			over = true // to be mitigated below
			err = nil
		}
		return over, err
	})
	p.done["provision"]++
	if err != nil || made {
		return made, err
	}
	if left, err := p.leaveFailed(ctx, i.id, ""); left || err != nil {
		p.failed = append(p.failed, i)
		return false, err
	}
	p.done["orphan mitigation"]++
	return false, p.deprovision(ctx, i)
}

// sent records a create that got no answer.
func (p *platform) sent(id string, err error) {
	if unanswered(err) {
		p.lost[id] = true
	}
}

func unanswered(err error) bool {
	_, answered := errors.AsType[*osbclient.Error](err)
	return err != nil && !answered
}

// leaveFailed sometimes leaves a failed create as it is, and reports whether it did: the
// broker must have cleaned up by itself. While a request may still be in progress, only
// a delete is safe.
func (p *platform) leaveFailed(ctx context.Context, instance, binding string) (left bool, err error) {
	if p.lost[cmp.Or(binding, instance)] || p.chance(30) {
		return false, nil
	}
	err = p.until(ctx, "learn what became of "+instance+" "+binding, func(ctx context.Context) (bool, error) {
		var last osbclient.LastOperation
		var err error
		if binding == "" {
			last, err = p.client().LastOperation(ctx, instance, osbclient.Poll{})
		} else {
			last, err = p.client().LastBindingOperation(ctx, instance, binding, osbclient.Poll{})
		}
		if last.Status == http.StatusNotFound {
			return true, nil // it was never accepted
		}
		v, err := p.judge(last.Status, err)
		left = v == done && last.State == osbclient.Failed
		return v == done && last.State != osbclient.InProgress, err
	})
	if left {
		p.done["failure left alone"]++
	}
	return left, err
}

// deprovision deletes an instance until it is gone.
func (p *platform) deprovision(ctx context.Context, i *heldInstance) error {
	p.done["deprovision"]++
	return p.until(ctx, "deprovision "+i.id, func(ctx context.Context) (bool, error) {
		c, err := p.client().Deprovision(ctx, i.id, osbclient.DeleteRequest{ServiceID: p.offer.service, PlanID: i.plan, AcceptsIncomplete: p.chance(p.async)})
		v, err := p.judge(c.Status, err)
		if v == done && c.Accepted() {
			return p.poll(ctx, i.id, "", c.Operation, true)
		}
		return v == done || v == gone, err
	})
}

// update repeats a plan change until it succeeds. It does nothing while a request that
// would change the plan back may still be in progress.
func (p *platform) update(ctx context.Context, i *heldInstance, plan string) error {
	if i.underWay != "" && i.underWay != plan {
		return nil
	}
	p.done["update"]++
	err := p.until(ctx, "update "+i.id, func(ctx context.Context) (bool, error) {
		c, err := p.client().Update(ctx, i.id, osbclient.UpdateRequest{ServiceID: p.offer.service, PlanID: plan, AcceptsIncomplete: p.chance(p.async)})
		if unanswered(err) {
			i.underWay = plan
		}
		v, err := p.judge(c.Status, err)
		if v == done && c.Accepted() {
			return p.poll(ctx, i.id, "", c.Operation, false)
		}
		return v == done, err
	})
	if err == nil {
		i.plan = plan
	}
	return err
}

// bind creates a binding, or gives up, leaves nothing and returns nil.
func (p *platform) bind(ctx context.Context, i *heldInstance, r osbclient.BindRequest, reader bool) (*heldBinding, error) {
	b := &heldBinding{id: p.newID(), reader: reader}
	r.AppGUID = "app"
	if r.PredecessorBindingID != "" {
		r.AppGUID = ""
		p.done["rotate"]++
	} else {
		r.ServiceID, r.PlanID = p.offer.service, i.plan
		p.done["bind"]++
	}
	mitigate := false
	err := p.until(ctx, "bind "+b.id, func(ctx context.Context) (bool, error) {
		r.AcceptsIncomplete = p.chance(p.async)
		made, err := p.client().Bind(ctx, i.id, b.id, r)
		p.sent(b.id, err)
		v, err := p.judge(made.Status, err)
		if v == done && made.Accepted() {
			if made, v, err = p.pollBinding(ctx, i, b, made.Operation); err != nil {
				return false, err
			}
		}
		switch {
		case v == done:
			b.credentials, b.mounts = made.Credentials, string(made.VolumeMounts)
			return true, nil
		case made.Status == http.StatusConflict, v == failed && err == nil, v == unknown && p.chance(50):
			mitigate = true
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return nil, err
	}
	if mitigate {
		if left, err := p.leaveFailed(ctx, i.id, b.id); left || err != nil {
			i.failed[b.id] = true
			return nil, err
		}
		p.done["orphan mitigation"]++
		return nil, p.unbind(ctx, i, b)
	}
	return b, p.received(ctx, i, b)
}

// pollBinding polls a bind and fetches the binding.
func (p *platform) pollBinding(ctx context.Context, i *heldInstance, b *heldBinding, operation string) (made osbclient.Binding, v verdict, err error) {
	ok, err := p.poll(ctx, i.id, b.id, operation, false)
	if err != nil || !ok {
		return made, failed, err
	}
	made, err = p.fetch(ctx, i, b)
	return made, done, err
}

// fetch repeats the fetch of a binding until it gets an answer.
func (p *platform) fetch(ctx context.Context, i *heldInstance, b *heldBinding) (made osbclient.Binding, err error) {
	err = p.until(ctx, "fetch "+b.id, func(ctx context.Context) (bool, error) {
		made, err = p.client().FetchBinding(ctx, i.id, b.id, "", "")
		v, err := p.judge(made.Status, err)
		return v == done, err
	})
	return made, err
}

// unbind repeats the deletion of a binding until it is gone, and checks that its
// credentials no longer work.
func (p *platform) unbind(ctx context.Context, i *heldInstance, b *heldBinding) error {
	p.done["unbind"]++
	err := p.until(ctx, "unbind "+b.id, func(ctx context.Context) (bool, error) {
		c, err := p.client().Unbind(ctx, i.id, b.id, osbclient.DeleteRequest{ServiceID: p.offer.service, PlanID: i.plan, AcceptsIncomplete: p.chance(p.async)})
		v, err := p.judge(c.Status, err)
		if v == done && c.Accepted() {
			return p.poll(ctx, i.id, b.id, c.Operation, true)
		}
		return v == done || v == gone, err
	})
	if err != nil || b.credentials == nil {
		return err
	}
	p.revoked = append(p.revoked, b)
	if p.leaving {
		return nil // the end of the test tries all revoked credentials
	}
	if p.offer.tryOut(ctx, b) == nil {
		return fmt.Errorf("binding %s: its credentials work after it was unbound", b.id)
	}
	return nil
}
