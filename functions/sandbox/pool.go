package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrClosed says that the pool is closed.
var ErrClosed = errors.New("the pool of workers is closed")

// ErrUnavailable says that workers ended again and again before they were done.
var ErrUnavailable = errors.New("no worker finished the request")

// Pool runs calls in its workers. All its methods are safe for concurrent use.
type Pool struct {
	options Options
	store   store
	log     *slog.Logger

	compiling singleflight.Group // by hash
	compilers chan struct{}      // one token for each compilation at a time

	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	background sync.WaitGroup

	mu      sync.Mutex
	slots   []*slot       // set by Open, never changed
	changed chan struct{} // closed, and made anew, when a slot may have become free
}

// Open starts the workers. ctx is for the start alone; Close ends the pool.
func Open(ctx context.Context, o Options) (*Pool, error) {
	o, err := o.completed()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of compiled code: %w", err)
	}
	p := &Pool{
		options:   o,
		store:     newStore(o.Folder),
		log:       o.Logger,
		compilers: make(chan struct{}, max(1, o.Workers/2)),
		changed:   make(chan struct{}),
	}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := p.store.removeLeftovers(); err != nil {
		return nil, err
	}
	for number := range o.Workers {
		h, err := p.startWorker()
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		s := &slot{pool: p, number: number, worker: h}
		p.slots = append(p.slots, s)
		p.background.Go(func() { s.run(h) })
	}
	return p, nil
}

// Close ends the workers and the calls that they run.
func (p *Pool) Close() error {
	p.cancel()
	p.background.Wait()
	return nil
}

// Cached returns the hashes of all compiled code in the folder but the JavaScript engine.
func (p *Pool) Cached() ([]string, error) {
	entries, err := os.ReadDir(p.options.Folder)
	if err != nil {
		return nil, fmt.Errorf("read the folder of compiled code: %w", err)
	}
	var hashes []string
	for _, entry := range entries {
		if name := entry.Name(); checkHash(name) == nil && name != engineHash {
			hashes = append(hashes, name)
		}
	}
	return hashes, nil
}

// Forget removes the compiled code of a hash from the disk and, as soon as no call runs it,
// from the memory of the workers.
func (p *Pool) Forget(hash string) error {
	if err := checkHash(hash); err != nil {
		return err
	}
	err := p.store.forget(hash)
	for _, worker := range p.workers() {
		worker.tell(message{Forget: hash})
	}
	return err
}

func checkHash(hash string) error {
	if len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return fmt.Errorf("%q is not a SHA-256 in hexadecimal digits", hash)
	}
	return nil
}

// Run runs one call to its end. The error is ErrClosed, ErrUnavailable, ctx's error, or that
// of Code.Load; all else is in the outcome.
func (p *Pool) Run(ctx context.Context, call Call) (Outcome, error) {
	began := time.Now()
	if err := checkHash(call.Code.Hash); err != nil {
		return Outcome{}, err
	}
	reply, compiling, err := p.carryOut(ctx, call, message{body: call.Input, Run: &call})
	refused, bad := errors.AsType[*CodeError](err)
	switch {
	case bad:
		return Outcome{Status: DeveloperError, Result: object(refused.Reason), Cold: true, Init: time.Since(began)}, nil
	case errors.Is(err, errGone) && !errors.Is(err, ErrUnavailable):
		return Outcome{Status: InternalError, Result: object("the worker that ran the action ended"), Duration: time.Since(began)}, nil
	case err != nil:
		return Outcome{}, err
	case reply.Ran == nil:
		return Outcome{}, errFrame
	}
	return reply.outcome(call.CGI, began, compiling), nil
}

// outcome completes the outcome in the reply to a call.
func (m message) outcome(cgi bool, began time.Time, compiling time.Duration) Outcome {
	o := *m.Ran
	o.Cold = o.Cold || compiling > 0
	o.Init += compiling
	o.Wait = max(0, m.Started.Sub(began)-compiling)
	if cgi && o.Status == Success {
		o.Output = m.body
	} else {
		o.Result = m.body
	}
	return o
}

// carryOut has a worker carry out a request of call, and compiles what the request
// needs, which takes the time compiling.
func (p *Pool) carryOut(ctx context.Context, call Call, request message) (reply message, compiling time.Duration, err error) {
	// The engine and the code may both be missing, and another process may forget them.
	for range 5 {
		reply, err = p.attempt(ctx, call, request)
		if err != nil || reply.Missing == nil {
			return reply, compiling, err
		}
		began := time.Now()
		if err = p.provide(ctx, call.Code, *reply.Missing); err != nil {
			return reply, compiling, err
		}
		compiling += time.Since(began)
	}
	return reply, compiling, fmt.Errorf("the compiled code in %s disappears each time; check what deletes files there", p.options.Folder)
}

// overdue is how much longer than its timeout a call may take to answer, with
// loading its code, before its worker is taken to be stuck.
const overdue = time.Minute

// attempt has one worker carry out a request of call.
func (p *Pool) attempt(ctx context.Context, call Call, request message) (message, error) {
	hash := call.Code.Hash
	h, err := p.place(ctx, hash)
	if err != nil {
		return message{}, err
	}
	late, cancel := context.WithTimeout(ctx, call.Limits.Timeout+overdue)
	defer cancel()
	reply, err := h.ask(late, request, func(reply message) { p.release(h, hash, reply) })
	switch {
	case p.ctx.Err() != nil:
		return message{}, ErrClosed
	case err != nil && late.Err() != nil && ctx.Err() == nil:
		p.log.Error("a worker does not answer and is replaced", "namespace", call.Namespace)
		p.abandon(h)
		return message{}, errGone
	}
	return reply, err
}

// place waits for a worker that can take another call, and takes its place in it. One
// that has run the code before comes first among those that are not busier.
func (p *Pool) place(ctx context.Context, hash string) (*handle, error) {
	for {
		p.mu.Lock()
		best := p.best(hash)
		if best != nil {
			best.busy++
		}
		changed := p.changed
		p.mu.Unlock()
		if best != nil {
			return best, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// best is the worker for code of a hash; nil when all are full. p.mu is held.
func (p *Pool) best(hash string) *handle {
	var best *handle
	for _, s := range p.slots {
		h := s.worker
		if h == nil || h.draining || h.busy >= p.options.Concurrency {
			continue
		}
		if best == nil || h.busy < best.busy || h.busy == best.busy && h.warm[hash] && !best.warm[hash] {
			best = h
		}
	}
	return best
}

// notify wakes those who wait for a place. p.mu is held.
func (p *Pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pool) workers() []*handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*handle
	for _, s := range p.slots {
		if s.worker != nil {
			all = append(all, s.worker)
		}
	}
	return all
}
