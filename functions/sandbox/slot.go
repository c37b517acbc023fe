package sandbox

import "time"

// slot is a worker's place in a pool; workers come and go.
type slot struct {
	pool   *Pool
	number int
	worker *handle // nil between two workers; guarded by Pool.mu
}

// handle is a worker that has a slot, or had one and still has calls to finish.
type handle struct {
	*process
	replaced chan struct{} // closed when another worker is to take the slot

	// Guarded by Pool.mu.
	busy     int             // calls that it runs
	stuck    int             // those of them that should have ended long ago
	warm     map[string]bool // hashes of code that it has loaded, or had
	draining bool            // it gets no further calls
}

func (p *Pool) startWorker() (*handle, error) {
	s := settings{Options: p.options, Build: p.store.build}
	s.Memory /= int64(s.Workers)
	worker, err := startProcess(s)
	if err != nil {
		return nil, err
	}
	return &handle{process: worker, replaced: make(chan struct{}), warm: map[string]bool{}}, nil
}

// A worker that has ended is replaced after firstPause. The pause doubles, up to lastPause,
// for as long as workers cannot be started or run for less than soon.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
	soon       = 10 * time.Second
)

// run has a worker in the slot, whatever becomes of it, until the pool closes. h is
// the first.
func (s *slot) run(h *handle) {
	for pause := firstPause; ; {
		began := time.Now()
		replaced := h != nil && s.supervise(h)
		if s.pool.ctx.Err() != nil {
			if h != nil {
				h.kill()
			}
			return
		}
		if !replaced {
			if time.Since(began) >= soon {
				pause = firstPause
			}
			sleep(s.pool.ctx, pause)
			pause = min(2*pause, lastPause)
		}
		var err error
		if h, err = s.pool.startWorker(); err != nil {
			s.pool.log.Error("cannot start a worker", "worker", s.number, "error", err)
		}
		s.set(h)
	}
}

// set puts h into the slot.
func (s *slot) set(h *handle) {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.worker = h
	s.pool.notify()
}

// supervise waits until h has ended, is to be replaced, or the pool closes.
func (s *slot) supervise(h *handle) (replaced bool) {
	select {
	case <-h.replaced:
		s.pool.background.Go(func() {
			select {
			case <-h.done:
			case <-s.pool.ctx.Done():
			}
			h.kill()
		})
		return true
	case <-s.pool.ctx.Done():
	case <-h.done:
		s.pool.log.Error("a worker ended", "worker", s.number, "error", h.failure())
		s.set(nil)
	}
	return false
}

// release frees a place of h, and replaces h if it holds too much memory.
func (p *Pool) release(h *handle, hash string, reply message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.busy--
	if reply.ID != 0 {
		h.warm[hash] = true
	}
	if reply.Overhead > p.options.Overhead {
		p.log.Info("a worker holds much memory and is replaced", "bytes", reply.Overhead)
		h.drain()
	}
	h.endIdle()
	p.notify()
}

// abandon counts a call of h as stuck. h gets no further ones.
func (p *Pool) abandon(h *handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.stuck++
	h.drain()
	h.endIdle()
}

// drain has another worker take the slot of h. Pool.mu is held.
func (h *handle) drain() {
	if !h.draining {
		h.draining = true
		close(h.replaced)
	}
}

// endIdle ends a draining worker whose calls have ended, except stuck ones. Pool.mu is
// held.
func (h *handle) endIdle() {
	if h.draining && h.busy <= h.stuck {
		go h.kill()
	}
}
