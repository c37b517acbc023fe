package placement

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// checkTime is how long a server may take to answer.
const checkTime = 3 * time.Second

// Watch checks all servers, once before it returns and then until ctx ends.
func (p *Placement) Watch(ctx context.Context) {
	servers := p.Catalog.Servers()
	p.Check(ctx, servers)
	go func() {
		tick := time.NewTicker(p.CheckEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.Check(ctx, servers)
			}
		}
	}()
}

// Check asks the servers now.
func (p *Placement) Check(ctx context.Context, servers []catalog.Server) {
	var done sync.WaitGroup
	for _, s := range servers {
		done.Go(func() { p.check(ctx, s.Key()) })
	}
	done.Wait()
}

// check returns in time although a client library may wait for a server that hangs.
func (p *Placement) check(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	answer := make(chan health, 1)
	go func() {
		var h health
		err := p.Drivers[key].CheckReady(ctx)
		if err != nil {
			h.Unreachable = err.Error()
		} else if h.Capacity, err = p.Drivers[key].Capacity.OrZero(ctx, services.None{}); err != nil {
			h.measureError = err.Error()
		}
		answer <- h
	}()
	select {
	case h := <-answer:
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the broker stops
		}
		p.setHealth(ctx, key, h)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.setHealth(ctx, key, health{Unreachable: "does not answer in time"})
		}
	}
}

func (p *Placement) setHealth(ctx context.Context, key string, h health) {
	p.mu.Lock()
	before := p.health[key]
	p.health[key] = h
	p.mu.Unlock()
	switch {
	case h.Unreachable != "" && before.Unreachable == "":
		p.Logger.WarnContext(ctx, "server does not answer", "server", key, "error", h.Unreachable)
	case h.Unreachable == "" && before.Unreachable != "":
		p.Logger.InfoContext(ctx, "server answers again", "server", key)
	}
	if h.measureError != "" && before.measureError == "" {
		p.Logger.WarnContext(ctx, "server does not report its capacity", "server", key, "error", h.measureError)
	}
}

func (p *Placement) healthOf(key string) health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.health[key]
}
