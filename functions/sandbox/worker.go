package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"
)

// Worker is the main of a worker: it carries out the requests of a [Pool] from in and
// replies to out, until in or ctx ends. It restricts the whole process for good, so the
// process should do nothing else.
func Worker(ctx context.Context, in io.Reader, out io.Writer) error {
	l := &link{in: in, out: out}
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w := &worker{
		link:    l,
		modules: newModules(store{root: s.Folder, build: s.Build}, s.CodeMemory),
		budget:  &budget{limit: s.Memory},
		files:   max(16, min(256, files/max(1, s.Concurrency))),
	}
	go w.returnMemory(ctx)
	return w.serve(ctx)
}

// worker carries out requests, each in a goroutine of its own.
type worker struct {
	link    *link
	modules *modules
	budget  *budget
	files   int // that one call may have open

	cancels sync.Map // a context.CancelFunc by the number of each request
}

// serve returns nil when the pool closes its end.
func (w *worker) serve(ctx context.Context) error {
	for {
		m, err := w.link.receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive from the pool: %w", err)
		}
		switch {
		case m.Cancel:
			w.cancel(m.ID)
		case m.Forget != "":
			w.modules.forget(m.Forget)
		default:
			w.begin(ctx, m)
		}
	}
}

// begin carries out one request, and sends its reply.
func (w *worker) begin(ctx context.Context, m message) {
	started := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	w.cancels.Store(m.ID, cancel)
	go func() {
		defer w.cancel(m.ID)
		reply := w.carryOut(ctx, m)
		reply.ID, reply.Started, reply.Overhead = m.ID, started, w.overhead()
		if err := w.link.send(reply); errors.Is(err, errFrame) {
			// Limits of many megabytes can do that.
			reply.Ran, reply.body = &Outcome{Status: InternalError}, object("the result and the logs together are too long to be passed on")
			_ = w.link.send(reply)
		} // else the pool is gone, and serve ends
	}()
}

func (w *worker) carryOut(ctx context.Context, m message) message {
	switch {
	case m.Run != nil:
		return w.run(ctx, m)
	case m.Check:
		return replyOf(w.check(ctx, m.body))
	case m.Compile != nil:
		return replyOf(compile(ctx, *m.Compile))
	}
	return message{Failed: "the worker does not know the request"}
}

func (w *worker) cancel(id uint64) {
	if cancel, found := w.cancels.LoadAndDelete(id); found {
		cancel.(context.CancelFunc)()
	}
}

// run loads the code and runs a call.
func (w *worker) run(ctx context.Context, m message) message {
	began := time.Now()
	g := &guest{call: *m.Run}
	g.call.Input = m.body
	cold, err := w.load(ctx, g)
	defer w.unload(g)
	if _, missing := errors.AsType[*notCompiled](err); missing {
		return replyOf(err)
	}
	var o Outcome
	if err != nil {
		o = internalError("the code cannot be loaded")
	} else if g.mounts, err = mount(m.Run.Mounts, w.files); err != nil {
		o = internalError(err.Error())
	}
	loaded := time.Now()
	if err == nil {
		defer g.mounts.close()
		o = g.run(ctx, w.budget)
		o.Duration = time.Since(loaded)
	}
	if o.Cold = cold; cold {
		o.Init = loaded.Sub(began)
	}
	return message{Ran: &o, body: append(o.Result, o.Output...)}
}

// load gives g its code.
func (w *worker) load(ctx context.Context, g *guest) (cold bool, err error) {
	if g.call.Code.Kind != JavaScript {
		g.module, cold, err = w.modules.acquire(ctx, g.call.Code.Hash, WASM)
		return cold, err
	}
	if g.module, cold, err = w.modules.acquire(ctx, engineHash, WASM); err != nil {
		return false, err
	}
	var read bool
	g.script, read, err = w.modules.acquire(ctx, g.call.Code.Hash, JavaScript)
	return cold || read, err
}

func (w *worker) unload(g *guest) {
	for _, code := range []*loaded{g.module, g.script} {
		if code != nil {
			w.modules.release(code)
		}
	}
}

// checkTime and checkMemory limit the check of a script's syntax.
const (
	checkTime   = 30 * time.Second
	checkMemory = 512 << 20
)

// check checks a script's syntax.
func (w *worker) check(ctx context.Context, script []byte) error {
	g := &guest{logs: &logs{}, call: Call{Code: engineCode()}}
	_, err := w.load(ctx, g)
	defer w.unload(g)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	g.memory = &guestMemory{ctx: ctx, limit: checkMemory, budget: w.budget}
	return g.checkScript(ctx, script)
}

// The process returns memory when it holds slack bytes more than after the last time,
// at most once a pause: that takes a collection of all garbage.
const (
	slack = 64 << 20
	pause = 5 * time.Second
)

// returnMemory returns memory that Go's heap does not need to the machine, until ctx ends.
func (w *worker) returnMemory(ctx context.Context) {
	for floor := int64(0); ctx.Err() == nil; sleep(ctx, pause) {
		held := w.overhead()
		if held > floor+slack {
			debug.FreeOSMemory()
			held = w.overhead()
			floor = held
		}
		floor = min(floor, held)
	}
}

// overhead is how much memory the process holds beside its calls'; 0 if that is unknown.
func (w *worker) overhead() int64 {
	held, err := residentIn("/proc/self/statm")
	if err != nil {
		return 0
	}
	return held - w.budget.used.Load()
}
