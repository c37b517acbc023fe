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

// chaos breaks one thing after another, and mends each before it breaks the
// next one. It is one goroutine's.
type chaos struct {
	d       *rig.Deployment
	brokers []*rig.Broker
	rand    *rand.Rand
	// interrupted is told of each break that may have cut operations short,
	// just before it happens.
	interrupted func(ctx context.Context, what string) error
	done        map[string]int
}

// event is one way to break something.
type event struct {
	name string
	do   func(context.Context) error
	// weight is how often it happens, beside the others.
	weight int
}

func (c *chaos) events() []event {
	return []event{
		{"replica killed", c.killReplica, 10},
		{"replica paused", c.pauseReplica, 2},
		{"replica stopped", c.stopReplica, 1},
		{"state's server killed", c.killState, 1},
		{"state's server restarted", c.restartState, 1},
		{"tenants' server killed", c.killTenants, 1},
		{"tenants' server restarted", c.restartTenants, 1},
		{"tenants' server hangs", c.freezeTenants, 2},
		{"tenants' connections cut", c.cutTenants, 1},
		{"Vault killed", c.killVault, 1},
		{"Vault restarted", c.restartVault, 1},
		{"Vault sealed", c.sealVault, 1},
		{"Vault hangs", c.freezeVault, 1},
	}
}

// rage lets each event happen once, in random order, with a replica killed
// between any two, and then goes on at random until the time is over.
func (c *chaos) rage(ctx context.Context, duration time.Duration) error {
	over := time.Now().Add(duration)
	events := c.events()
	c.rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	var lots []event
	for _, e := range events {
		for range e.weight {
			lots = append(lots, e)
		}
		if err := c.happen(ctx, e); err != nil {
			return err
		}
		if err := c.happen(ctx, event{name: "replica killed", do: c.killReplica}); err != nil {
			return err
		}
	}
	for time.Now().Before(over) {
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
	if err := e.do(ctx); err != nil {
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

func (c *chaos) replica() *rig.Broker { return c.brokers[c.rand.IntN(len(c.brokers))] }

func (c *chaos) killReplica(ctx context.Context) error {
	b := c.replica()
	b.Kill()
	return errors.Join(c.pause(ctx, time.Millisecond, 2*time.Second), b.Start(ctx))
}

// pauseReplica lets a replica sleep for so long that others take its work over,
// and wake up late.
func (c *chaos) pauseReplica(ctx context.Context) error {
	p := c.replica().Process()
	p.Signal(syscall.SIGSTOP)
	defer p.Signal(syscall.SIGCONT)
	return c.pause(ctx, 2*time.Second, 14*time.Second)
}

func (c *chaos) stopReplica(ctx context.Context) error {
	b := c.replica()
	code, err := b.Process().Stop(10 * time.Second)
	if err != nil {
		return err
	}
	if code != 0 {
		return fmt.Errorf("it ended with %d", code)
	}
	return b.Start(ctx)
}

func (c *chaos) killState(ctx context.Context) error {
	c.d.State.Kill()
	return errors.Join(c.pause(ctx, time.Millisecond, 3*time.Second), c.d.State.Restart(ctx))
}

func (c *chaos) restartState(ctx context.Context) error { return c.d.State.Restart(ctx) }

func (c *chaos) killTenants(ctx context.Context) error {
	c.d.Tenants.Kill()
	return errors.Join(c.pause(ctx, time.Millisecond, 3*time.Second), c.d.Tenants.Restart(ctx))
}

func (c *chaos) restartTenants(ctx context.Context) error { return c.d.Tenants.Restart(ctx) }

func (c *chaos) freezeTenants(ctx context.Context) error {
	c.d.TenantsProxy.Freeze()
	defer c.d.TenantsProxy.Thaw()
	return c.pause(ctx, 2*time.Second, 8*time.Second)
}

func (c *chaos) cutTenants(context.Context) error {
	c.d.TenantsProxy.Cut()
	return nil
}

func (c *chaos) killVault(ctx context.Context) error {
	c.d.Vault.Kill()
	return errors.Join(c.pause(ctx, time.Millisecond, 3*time.Second), c.d.Vault.Restart(ctx))
}

func (c *chaos) restartVault(ctx context.Context) error { return c.d.Vault.Restart(ctx) }

func (c *chaos) sealVault(ctx context.Context) error {
	if err := c.d.Vault.Seal(ctx); err != nil {
		return err
	}
	return errors.Join(c.pause(ctx, time.Second, 5*time.Second), c.d.Vault.Unseal(ctx))
}

func (c *chaos) freezeVault(ctx context.Context) error {
	c.d.VaultProxy.Freeze()
	defer c.d.VaultProxy.Thaw()
	return c.pause(ctx, 2*time.Second, 8*time.Second)
}
