package sandbox

import (
	"context"
	"time"
)

// seat is a worker's place in a pool; workers come and go.
type seat struct {
	pool   *Pool
	number int
	hand   *hand // nil between two; guarded by Pool.mu
}

// hand is a worker that sits on a seat, or did and still has calls to end.
type hand struct {
	*process
	relieved chan struct{} // closed when another one is to take the seat

	// Guarded by Pool.mu.
	busy    int             // calls that it runs
	stuck   int             // those of them that should have ended long ago
	warm    map[string]bool // hashes of code that it has loaded, or had
	leaving bool            // it gets no further calls
}

// hire starts a worker.
func (p *Pool) hire() (*hand, error) {
	o := p.options
	worker, err := startProcess(o.Command, settings{
		Folder: o.Folder, Build: p.store.build, Memory: o.Memory / int64(o.Workers), Overhead: o.Overhead, CodeMemory: o.CodeMemory,
		Concurrency: o.Concurrency,
	})
	if err != nil {
		return nil, err
	}
	return &hand{process: worker, relieved: make(chan struct{}), warm: map[string]bool{}}, nil
}

// The pause before a worker is started again grows from the first to the last
// while each ends soon after its start.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	soon       = 10 * time.Second
)

// keep has a worker on the seat, whatever becomes of it, until the pool closes.
// h is the first.
func (s *seat) keep(h *hand) {
	defer s.pool.keep.Done()
	pause := firstPause
	for {
		began := time.Now()
		if h != nil && !s.attend(h) {
			return
		}
		if time.Since(began) > soon {
			pause = firstPause
		}
		var err error
		if h, err = s.pool.hire(); err == nil {
			s.take(h)
			continue
		}
		s.pool.log.Error("cannot start a worker", "worker", s.number, "error", err)
		if !s.pool.rest(&pause) {
			return
		}
	}
}

// take puts h on the seat.
func (s *seat) take(h *hand) {
	s.pool.mu.Lock()
	s.hand = h
	s.pool.notify()
	s.pool.mu.Unlock()
}

// attend waits until h has left the seat, and then for a while when it ended by
// itself. It returns false when the pool closes.
func (s *seat) attend(h *hand) bool {
	began := time.Now()
	select {
	case <-h.relieved:
		s.pool.keep.Add(1)
		go s.pool.seeOff(h)
		return true
	case <-s.pool.ctx.Done():
		h.kill()
		return false
	case <-h.done:
	}
	s.pool.log.Error("a worker ended", "worker", s.number, "error", h.failure())
	s.pool.mu.Lock()
	s.hand = nil
	s.pool.mu.Unlock()
	pause := firstPause
	if time.Since(began) < soon {
		pause = time.Second
	}
	return s.pool.rest(&pause)
}

// rest waits for pause, and doubles it; it returns false when the pool closes.
func (p *Pool) rest(pause *time.Duration) bool {
	timer := time.NewTimer(*pause)
	defer timer.Stop()
	*pause = min(2**pause, lastPause)
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// seeOff waits for the end of a worker that has left its seat.
func (p *Pool) seeOff(h *hand) {
	defer p.keep.Done()
	select {
	case <-h.done:
	case <-p.ctx.Done():
	}
	h.kill()
}

// ask has h carry out a request that a place has been taken for, and frees the
// place when h has done with it, which after the end of ctx may be later than
// ask returns.
func (p *Pool) ask(ctx context.Context, h *hand, hash string, request message) (message, error) {
	id, replies, err := h.request(request)
	if err != nil {
		p.leave(h, "", message{})
		return message{}, err
	}
	select {
	case reply, answered := <-replies:
		p.leave(h, hash, reply)
		if !answered {
			return message{}, errGone
		}
		return reply, nil
	case <-ctx.Done():
		h.tell(message{ID: id, Cancel: true})
		go func() { p.leave(h, hash, <-replies) }()
		return message{}, ctx.Err()
	}
}

// leave frees a place, and relieves a worker that holds too much memory.
func (p *Pool) leave(h *hand, hash string, reply message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.busy--
	if hash != "" {
		h.warm[hash] = true
	}
	if reply.Overhead > p.options.Overhead {
		p.log.Info("a worker holds much memory and is replaced", "bytes", reply.Overhead)
		p.relieve(h)
	}
	p.endIdle(h)
	p.notify()
}

// giveUp counts a call of h as stuck. h gets no further ones.
func (p *Pool) giveUp(h *hand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.stuck++
	p.relieve(h)
	p.endIdle(h)
}

// relieve has another worker take the seat of h. p.mu is held.
func (p *Pool) relieve(h *hand) {
	if h.leaving {
		return
	}
	h.leaving = true
	close(h.relieved)
}

// endIdle ends a worker on its way out that has nothing left to do but what is
// stuck. p.mu is held.
func (p *Pool) endIdle(h *hand) {
	if h.leaving && h.busy <= h.stuck {
		go h.kill()
	}
}
