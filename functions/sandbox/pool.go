package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// ErrClosed says that the pool is closed.
var ErrClosed = errors.New("the pool of workers is closed")

// ErrUnavailable says that workers ended again and again before they were done.
var ErrUnavailable = errors.New("no worker got to the end of it")

// Pool runs calls in its workers. All its methods are safe for concurrent use.
type Pool struct {
	options Options
	store   store
	log     *slog.Logger

	compiling singleflight.Group // by hash
	compilers chan struct{}      // one token a compilation at the same time

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	keep   sync.WaitGroup // keepers of seats, and workers on their way out

	mu      sync.Mutex
	seats   []*seat       // set by Open, never changed
	changed chan struct{} // closed, and made anew, when a seat may have become free
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
	if err := p.removeLeftovers(); err != nil {
		return nil, err
	}
	for number := range o.Workers {
		h, err := p.hire()
		if err != nil {
			return nil, errors.Join(err, p.Close())
		}
		s := &seat{pool: p, number: number, hand: h}
		p.seats = append(p.seats, s)
		p.keep.Add(1)
		go s.keep(h)
	}
	return p, nil
}

// leftoverAge is how old a folder of a compilation must be to be one that a
// process did not finish.
const leftoverAge = time.Hour

// removeLeftovers removes what killed processes left behind.
func (p *Pool) removeLeftovers() error {
	entries, err := os.ReadDir(p.options.Folder)
	if err != nil {
		return fmt.Errorf("look at the folder of compiled code: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "fresh-") && !strings.HasPrefix(entry.Name(), "trash-") {
			continue
		}
		info, err := entry.Info()
		if err != nil || time.Since(info.ModTime()) < leftoverAge {
			continue
		}
		if err := os.RemoveAll(filepath.Join(p.options.Folder, entry.Name())); err != nil {
			return fmt.Errorf("remove what is left of a compilation: %w", err)
		}
	}
	return nil
}

// Close ends the workers and the calls that they run.
func (p *Pool) Close() error {
	p.cancel()
	p.keep.Wait()
	return nil
}

// Forget removes the compiled code of a hash from the disk and, as soon as no
// call runs it, from the memory of the workers. Code of that hash that is run
// again is compiled again.
func (p *Pool) Forget(hash string) error {
	if !validHash(hash) {
		return fmt.Errorf("%q is no SHA-256 in hexadecimal digits", hash)
	}
	err := p.store.forget(hash)
	for _, worker := range p.hands() {
		worker.tell(message{Forget: hash})
	}
	return err
}

func validHash(hash string) bool {
	return len(hash) == 64 && strings.Trim(hash, "0123456789abcdef") == ""
}

// Run runs one call to its end. The error says that it did not run, or that
// nobody waits for it any more: ErrClosed, ctx's error, or that of Code.Load; all
// else is in the outcome.
func (p *Pool) Run(ctx context.Context, call Call) (Outcome, error) {
	begin := time.Now()
	if !validHash(call.Code.Hash) {
		return Outcome{}, fmt.Errorf("%q is no SHA-256 in hexadecimal digits", call.Code.Hash)
	}
	request := message{body: call.Input, Run: &runRequest{
		Hash: call.Code.Hash, Kind: call.Code.Kind, CGI: call.CGI, Env: call.Env, Mounts: call.Mounts, Limits: call.Limits,
	}}
	var compiling time.Duration
	// Twice missing is the engine and the code; more is somebody who forgets
	// the code while it is called.
	for range 5 {
		reply, err := p.attempt(ctx, call, request)
		if err != nil {
			return gone(err, begin)
		}
		if reply.Ran.absent.Hash == "" {
			return reply.outcome(begin, compiling)
		}
		since := time.Now()
		if err := p.provide(ctx, call.Code, reply.Ran.absent); err != nil {
			return notCompiled(err, begin)
		}
		compiling += time.Since(since)
	}
	return Outcome{}, fmt.Errorf("the compiled code in %s does not stay there", p.options.Folder)
}

// gone is what becomes of a call whose worker ended.
func gone(err error, begin time.Time) (Outcome, error) {
	if !errors.Is(err, errGone) {
		return Outcome{}, err
	}
	return Outcome{Status: InternalError, Result: object("the worker that ran the action ended"), Duration: time.Since(begin)}, nil
}

func notCompiled(err error, begin time.Time) (Outcome, error) {
	refused := new(CodeError)
	if !errors.As(err, &refused) {
		return Outcome{}, err
	}
	return Outcome{Status: DeveloperError, Result: object(refused.Reason), Cold: true, Init: time.Since(begin)}, nil
}

// outcome gives a worker's reply the form that callers see.
func (m message) outcome(begin time.Time, compiling time.Duration) (Outcome, error) {
	r := m.Ran
	result, rest, found := split(m.body, r.Result)
	output, rest, also := split(rest, r.Output)
	lines, err := readLogs(rest)
	if err != nil || !found || !also {
		return Outcome{}, errFrame
	}
	return Outcome{
		Status: r.Status, Result: result, Output: output, Logs: lines, Cold: r.Cold || compiling > 0, Duration: r.Duration,
		Init: r.Init + compiling,
		Wait: max(0, time.Unix(0, r.Started).Sub(begin)-compiling),
	}, nil
}

// split cuts the first n bytes off body; nil when n is 0.
func split(body []byte, n int) (first, rest []byte, found bool) {
	switch {
	case n < 0 || n > len(body):
		return nil, nil, false
	case n == 0:
		return nil, body, true
	}
	return body[:n:n], body[n:], true
}

// overdue is how much longer than its timeout a call may take to answer, with
// loading its code, before its worker is taken to be stuck.
const overdue = time.Minute

// attempt has a worker run a call. What comes back has Ran.
func (p *Pool) attempt(ctx context.Context, call Call, request message) (message, error) {
	h, err := p.place(ctx, call.Code.Hash)
	if err != nil {
		return message{}, err
	}
	late, cancel := context.WithTimeout(ctx, call.Limits.Timeout+overdue)
	defer cancel()
	reply, err := p.ask(late, h, call.Code.Hash, request)
	switch {
	case p.ctx.Err() != nil:
		return message{}, ErrClosed
	case err != nil && late.Err() != nil && ctx.Err() == nil:
		p.log.Error("a worker does not answer and is replaced", "namespace", call.Namespace)
		p.giveUp(h)
		return message{}, errGone
	case err == nil && reply.Ran == nil:
		return message{}, errFrame
	}
	return reply, err
}

// place waits for a worker that has room, and takes its place in it. One that
// has run the code before comes first among those that are not busier.
func (p *Pool) place(ctx context.Context, hash string) (*hand, error) {
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

// best is the worker for code of a hash; nil when none has room. p.mu is held.
func (p *Pool) best(hash string) *hand {
	var best *hand
	for _, s := range p.seats {
		h := s.hand
		if h == nil || h.leaving || h.busy >= p.options.Concurrency {
			continue
		}
		if best == nil || h.busy < best.busy || h.busy == best.busy && h.warm[hash] && !best.warm[hash] {
			best = h
		}
	}
	return best
}

// notify wakes who waits for a seat. p.mu is held.
func (p *Pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pool) hands() []*hand {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*hand
	for _, s := range p.seats {
		if s.hand != nil {
			all = append(all, s.hand)
		}
	}
	return all
}
