package placement

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// askTime is how long a server may take to say how it is.
const askTime = 3 * time.Second

// Watch checks all servers, once before it returns and then until ctx ends.
func (p *Placement) Watch(ctx context.Context) {
	servers := p.Catalog.Servers()
	p.Ask(ctx, servers)
	go func() {
		tick := time.NewTicker(p.Every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.Ask(ctx, servers)
			}
		}
	}()
}

// Ask asks the servers now.
func (p *Placement) Ask(ctx context.Context, servers []catalog.Server) {
	var asked sync.WaitGroup
	for _, s := range servers {
		asked.Go(func() { p.ask(ctx, s.Key()) })
	}
	asked.Wait()
}

// ask returns in time although a client library may wait for a server that hangs.
func (p *Placement) ask(ctx context.Context, key string) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	answer := make(chan health, 1)
	go func() {
		var h health
		err := p.Drivers[key].Ready(ctx)
		if err != nil {
			h.Away = err.Error()
		} else if h.Capacity, err = p.Drivers[key].Capacity(ctx); err != nil {
			h.unmeasured = err.Error()
		}
		answer <- h
	}()
	select {
	case h := <-answer:
		if errors.Is(ctx.Err(), context.Canceled) {
			return // the broker ends
		}
		p.learn(ctx, key, h)
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			p.learn(ctx, key, health{Away: "does not answer in time"})
		}
	}
}

func (p *Placement) learn(ctx context.Context, key string, h health) {
	p.mu.Lock()
	before := p.known[key]
	p.known[key] = h
	p.mu.Unlock()
	switch {
	case h.Away != "" && before.Away == "":
		p.Logger.WarnContext(ctx, "server does not answer", "server", key, "error", h.Away)
	case h.Away == "" && before.Away != "":
		p.Logger.InfoContext(ctx, "server answers again", "server", key)
	}
	if h.unmeasured != "" && before.unmeasured == "" {
		p.Logger.WarnContext(ctx, "server does not tell how much room it has", "server", key, "error", h.unmeasured)
	}
}

func (p *Placement) healthOf(key string) health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[key]
}
