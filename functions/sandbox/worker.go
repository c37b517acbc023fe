package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// Worker is the main of a worker: it carries out what a [Pool] asks for on r and
// answers on w, until r ends or ctx does. It takes rights away from the whole
// process, for good, so the process should do nothing else.
func Worker(ctx context.Context, r io.Reader, w io.Writer) error {
	l := &link{in: r, out: w}
	first, err := l.receive()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil || first.Settings == nil {
		return fmt.Errorf("%w: the first message must hold settings; a pool starts this program", errFrame)
	}
	s := *first.Settings
	files, err := confine(s)
	if err != nil {
		return fmt.Errorf("give up rights: %w", err)
	}
	work := newWorker(s, l, files)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return work.serve(ctx)
}

// worker carries out requests, each in a goroutine of its own.
type worker struct {
	link     *link
	settings settings
	modules  *modules
	budget   *budget
	files    int // that one call may have open

	mu      sync.Mutex
	cancels map[uint64]context.CancelFunc

	floor   atomic.Int64 // what the process held when it had last given memory back
	freeing atomic.Bool  // it is going to
}

func newWorker(s settings, l *link, files int) *worker {
	return &worker{
		link:     l,
		settings: s,
		modules:  newModules(store{root: s.Folder, build: s.Build}, s.CodeMemory),
		budget:   &budget{limit: s.Memory},
		files:    max(16, min(256, files/max(1, s.Concurrency))),
		cancels:  map[uint64]context.CancelFunc{},
	}
}

// serve returns nil when the pool closes its end.
func (w *worker) serve(ctx context.Context) error {
	for {
		m, err := w.link.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("hear from the pool: %w", err)
		}
		switch {
		case m.Cancel:
			w.cancel(m.ID)
		case m.Forget != "":
			w.modules.forget(m.Forget, nil)
		default:
			w.begin(ctx, m)
		}
	}
}

// begin carries out one request, and sends its reply.
func (w *worker) begin(ctx context.Context, m message) {
	started := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	w.mu.Lock()
	w.cancels[m.ID] = cancel
	w.mu.Unlock()
	go func() {
		defer w.cancel(m.ID)
		reply := w.carryOut(ctx, m, started)
		reply.ID, reply.Overhead = m.ID, w.overhead()
		if err := w.link.send(reply); errors.Is(err, errFrame) {
			// Limits of many megabytes can do that.
			failed := ran(&runReply{}, outcome{status: InternalError,
				result: object("the result and the logs together are too long to be passed on")})
			failed.ID, failed.Overhead = reply.ID, reply.Overhead
			_ = w.link.send(failed)
		} // else the pool is gone, and serve ends
	}()
}

func (w *worker) carryOut(ctx context.Context, m message, started time.Time) message {
	switch {
	case m.Run != nil:
		return w.run(ctx, m, started)
	case m.Check:
		return message{Checked: w.check(ctx, m.body)}
	case m.Compile != nil:
		return message{Checked: toCodeReply(compile(ctx, *m.Compile))}
	}
	return message{Checked: &codeReply{Failed: "the worker does not know the request"}}
}

func (w *worker) cancel(id uint64) {
	w.mu.Lock()
	cancel, found := w.cancels[id]
	delete(w.cancels, id)
	w.mu.Unlock()
	if found {
		cancel()
	}
}

// run loads the code and runs a call.
func (w *worker) run(ctx context.Context, m message, started time.Time) message {
	g := &guest{request: m.Run, input: m.body}
	cold, missing, err := w.load(ctx, g)
	defer w.unload(g)
	reply := &runReply{Cold: cold, Started: started.UnixNano(), absent: missing}
	if err != nil {
		return ran(reply, outcome{status: InternalError, result: object("the code cannot be loaded")})
	}
	if cold {
		reply.Init = time.Since(started)
	}
	g.mounts, err = mount(ctx, m.Run.Mounts, w.files)
	if err != nil {
		return ran(reply, outcome{status: InternalError, result: object(err.Error())})
	}
	defer g.mounts.close()
	begin := time.Now()
	o := g.run(ctx, w.budget)
	reply.Duration = time.Since(begin)
	return ran(reply, o)
}

// ran is the reply that tells o.
func ran(reply *runReply, o outcome) message {
	reply.Status, reply.Result, reply.Output = o.status, len(o.result), len(o.output)
	return message{Ran: reply, body: appendLogs(append(o.result[:len(o.result):len(o.result)], o.output...), o.logs)}
}

// load gives g its code. missing names the code that has to be compiled first.
func (w *worker) load(ctx context.Context, g *guest) (cold bool, missing absent, err error) {
	module := g.request.Hash
	if g.request.Kind == JavaScript {
		module = engineHash
	}
	g.module, cold, err = w.modules.acquire(ctx, module, WASM)
	if err != nil {
		return false, absentFor(module, err), err
	}
	if g.request.Kind != JavaScript {
		return cold, absent{}, nil
	}
	var read bool
	g.script, read, err = w.modules.acquire(ctx, g.request.Hash, JavaScript)
	if err != nil {
		return false, absentFor(g.request.Hash, err), err
	}
	return cold || read, absent{}, nil
}

func (w *worker) unload(g *guest) {
	for _, code := range []*loaded{g.module, g.script} {
		if code != nil {
			w.modules.release(code)
		}
	}
}

func absentFor(hash string, err error) absent {
	if !compilable(err) {
		return absent{}
	}
	return absent{Hash: hash, Corrupt: errors.Is(err, errCorrupt)}
}

// checkTime and checkMemory are what a look at a script's syntax may take.
const (
	checkTime   = 30 * time.Second
	checkMemory = 512 << 20
)

// check looks at a script's syntax.
func (w *worker) check(ctx context.Context, script []byte) *codeReply {
	g := &guest{logs: &logs{}, request: &runRequest{Kind: WASM, Hash: engineHash, Limits: Limits{Timeout: checkTime}}}
	_, missing, err := w.load(ctx, g)
	defer w.unload(g)
	if err != nil {
		return &codeReply{Failed: "the JavaScript engine cannot be loaded", absent: missing}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	g.memory = &guestMemory{ctx: ctx, limit: checkMemory, budget: w.budget}
	return toCodeReply(g.checkScript(ctx, script))
}

func toCodeReply(err error) *codeReply {
	refused := new(CodeError)
	switch {
	case err == nil:
		return &codeReply{}
	case errors.As(err, &refused):
		return &codeReply{Refused: refused.Reason}
	}
	return &codeReply{Failed: err.Error()}
}

// The process gives memory back when it holds slack bytes more than after the
// last time, and not more often than once a pause: that takes a collection of
// all garbage.
const (
	slack = 64 << 20
	pause = 5 * time.Second
)

// overhead is how much memory the process holds beside its calls'.
func (w *worker) overhead() int64 {
	held, err := w.held()
	if err != nil {
		return 0
	}
	floor := w.floor.Load()
	if held < floor {
		w.floor.CompareAndSwap(floor, held)
	}
	if held > floor+slack && w.freeing.CompareAndSwap(false, true) {
		time.AfterFunc(pause, w.giveBack) // with what comes until then, and also when nothing does
	}
	return held
}

func (w *worker) held() (int64, error) {
	held, err := resident()
	return held - w.budget.used.Load(), err
}

// giveBack gives the memory that Go's heap does not need back to the machine.
func (w *worker) giveBack() {
	debug.FreeOSMemory()
	if held, err := w.held(); err == nil {
		w.floor.Store(held)
	}
	w.freeing.Store(false)
}
