package acceptance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// chaos breaks one thing after another, and repairs each before it breaks the next
// one. Only one goroutine uses it.
type chaos struct {
	events []event
	// between happens once after each event of the first pass, unless its name is empty.
	between event
	// kills is how often a replica is killed at least, however long it takes.
	kills int
	rand  *rand.Rand
	// interrupted is called just before each event that may interrupt operations.
	interrupted func(ctx context.Context, what string) error
	done        map[string]int
}

// event is one way to break something.
type event struct {
	name string
	do   func(context.Context, *chaos) error
	// weight is how often it happens, relative to the others.
	weight int
}

// rage runs each event once, in random order, and then random events until the time
// is over and replicas were killed often enough.
func (c *chaos) rage(ctx context.Context, duration time.Duration) error {
	over := time.Now().Add(duration)
	events := append([]event{}, c.events...)
	c.rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	var lots []event
	for _, e := range events {
		for range e.weight {
			lots = append(lots, e)
		}
		if err := c.happen(ctx, e); err != nil {
			return err
		}
		if c.between.name == "" {
			continue
		}
		if err := c.happen(ctx, c.between); err != nil {
			return err
		}
	}
	for time.Now().Before(over) || c.done[replicaKilled] < c.kills {
		if err := c.happen(ctx, lots[c.rand.IntN(len(lots))]); err != nil {
			return err
		}
	}
	return nil
}

func (c *chaos) happen(ctx context.Context, e event) error {
	if err := c.pause(ctx, 300*time.Millisecond, 1500*time.Millisecond); err != nil {
		return err
	}
	if err := c.interrupted(ctx, e.name); err != nil {
		return err
	}
	c.done[e.name]++
	if err := e.do(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", e.name, err)
	}
	return nil
}

func (c *chaos) pause(ctx context.Context, least, most time.Duration) error {
	select {
	case <-time.After(least + time.Duration(c.rand.Int64N(int64(most-least)))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// breakable is a server that the test can break.
type breakable interface {
	Kill()
	Restart(ctx context.Context) error
}

func killed(s breakable) func(context.Context, *chaos) error {
	return func(ctx context.Context, c *chaos) error {
		s.Kill()
		return errors.Join(c.pause(ctx, time.Millisecond, 3*time.Second), s.Restart(ctx))
	}
}

func restarted(s breakable) func(context.Context, *chaos) error {
	return func(ctx context.Context, _ *chaos) error { return s.Restart(ctx) }
}

// hanging is a proxy that can make connections hang.
type hanging interface {
	Freeze()
	Thaw()
}

func frozen(h hanging) func(context.Context, *chaos) error {
	return func(ctx context.Context, c *chaos) error {
		h.Freeze()
		defer h.Thaw()
		return c.pause(ctx, 2*time.Second, 7*time.Second)
	}
}

// serverEvents are the events of a server, which are faults of all offers that use it. No two of
// an offer's may happen at once.
func serverEvents(server *rig.Server, users ...*offer) []event {
	events := []event{
		{"server killed", killed(server), 2},
		{"server restarted", restarted(server), 1},
		{"server hangs", frozen(server), 2},
		cut(server),
	}
	for i := range events {
		events[i] = faultOf(server, events[i], users)
	}
	return events
}

// serverFaults is how many events serverEvents returns.
const serverFaults = 4

func cut(server *rig.Server) event {
	return event{"connections cut", func(context.Context, *chaos) error { server.Cut(); return nil }, 2}
}

// faultOf tells the offers that use a server when an event of the server is in progress.
func faultOf(server *rig.Server, e event, users []*offer) event {
	do := e.do
	e.name = server.Backend + ": " + e.name
	e.do = func(ctx context.Context, c *chaos) error {
		for _, o := range users {
			o.breaks.Add(1)
			defer o.breaks.Add(1)
		}
		return do(ctx, c)
	}
	return e
}

// replicas are the brokers with their state database and Vault.
type replicas struct {
	d       *rig.Deployment
	brokers []*rig.Broker
}

const replicaKilled = "replica killed"

func (r *replicas) events() []event {
	return []event{
		r.killed(),
		{"replica paused", r.pause, 2},
		{"replica stopped", r.stop, 1},
		{"state's server killed", killed(r.d.State), 1},
		{"state's server restarted", restarted(r.d.State), 1},
		{"Vault killed", killed(r.d.Vault), 1},
		{"Vault restarted", restarted(r.d.Vault), 1},
		{"Vault sealed", r.sealVault, 1},
		{"Vault hangs", frozen(r.d.VaultProxy), 1},
	}
}

func (r *replicas) killed() event { return event{replicaKilled, r.kill, 10} }

func (r *replicas) one(c *chaos) *rig.Broker { return r.brokers[c.rand.IntN(len(r.brokers))] }

func (r *replicas) kill(ctx context.Context, c *chaos) error {
	b := r.one(c)
	b.Kill()
	return errors.Join(c.pause(ctx, time.Millisecond, 2*time.Second), b.Start(ctx))
}

// pause stops a replica for so long that others take over its work before it resumes.
func (r *replicas) pause(ctx context.Context, c *chaos) error {
	p := r.one(c).Process()
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	return c.pause(ctx, 2*time.Second, 14*time.Second)
}

func (r *replicas) stop(ctx context.Context, c *chaos) error {
	b := r.one(c)
	code, err := b.Process().Stop(30 * time.Second)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("it exited with %d", code)
	}
	return b.Start(ctx)
}

func (r *replicas) sealVault(ctx context.Context, c *chaos) error {
	if err := r.d.Vault.Seal(ctx); err != nil {
		return err
	}
	return errors.Join(c.pause(ctx, time.Second, 5*time.Second), r.d.Vault.Unseal(ctx))
}
