package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"syscall"
	"time"
)

// child is the life of a server that runs as a child of this process: started on
// its folder, watched, ended, started again. The servers of this package embed it
// and bring what is their own as childParts; its exported methods are theirs.
// They are safe for concurrent use.
type child struct {
	folder *folder
	logger *slog.Logger
	title  string // what errors call it, such as "MariaDB server"
	own    childParts
	done   chan error

	mu      sync.Mutex // serialises the start, Restart, Kill and Stop
	process *process   // nil: it does not run
	closed  bool
}

// childParts is what a server has of its own. None of it is called twice at
// once.
type childParts struct {
	// prepare comes before each start; nil: nothing is to be prepared.
	prepare func(context.Context) error
	// program is what is to be run.
	program func() program
	// ready says whether the process pid serves; it is asked until it does.
	ready func(ctx context.Context, pid int) bool
	// serving comes after each start, once it serves; nil: nothing is to be
	// done then.
	serving func(context.Context) error
	// ended comes after each end, also of a start that failed halfway; nil:
	// nothing is to be cleared away.
	ended func()
	// farewell are the signals that end what an earlier run left behind, each
	// after some patience; none: SIGKILL at once.
	farewell []syscall.Signal
}

// newChild makes the life of a server on the folder dir, which it takes.
// logger may be nil.
func newChild(title, dir string, logger *slog.Logger) (*child, error) {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return &child{folder: f, logger: logger, title: title, done: make(chan error, 1)}, nil
}

// open fills the folder and starts the server. When it fails nothing runs and
// the folder is given back.
func (c *child) open(ctx context.Context, own childParts, fill func(context.Context) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own = own
	err := c.endLeftovers(ctx)
	if err == nil {
		err = fill(ctx)
	}
	if err == nil {
		err = c.run(ctx)
	}
	if err != nil {
		c.end()
		c.closed = true
		c.folder.close()
	}
	return err
}

// Done receives an error when the server ends without Stop or Restart, and is
// closed by Stop.
func (c *child) Done() <-chan error { return c.done }

// Restart stops the server, whatever state it is in, and starts it again with
// the same data at the same place. Sessions are cut.
func (c *child) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("the %s in %s was stopped for good", c.title, c.folder.root)
	}
	if err := c.halt(ctx); err != nil {
		return err
	}
	if err := c.endLeftovers(ctx); err != nil {
		return err
	}
	return c.run(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (c *child) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.process; p != nil {
		p.kill()
		c.lost(p)
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says; what it keeps on disk stays intact
// even so. Stopping twice is no error.
func (c *child) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	defer c.folder.close()
	err := c.halt(ctx)
	close(c.done)
	return err
}

// run starts the server and waits until it serves. When it fails nothing runs.
func (c *child) run(ctx context.Context) error {
	err := c.launch(ctx)
	if err == nil && c.own.serving != nil {
		err = c.own.serving(ctx)
	}
	if err != nil {
		c.end()
	}
	return err
}

// startLimit is what a server may take to serve: RabbitMQ takes most of a minute on
// a busy machine.
const startLimit = 5 * time.Minute

func (c *child) launch(ctx context.Context) error {
	if c.own.prepare != nil {
		if err := c.own.prepare(ctx); err != nil {
			return err
		}
	}
	p, err := startProcess(c.own.program())
	if err != nil {
		return err
	}
	c.process = p
	go c.watch(p)
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return p.await(ctx, func(ctx context.Context) bool { return c.own.ready(ctx, p.child.Pid) })
}

// watch waits for the end of p. Whoever asked for it has taken p away before.
func (c *child) watch(p *process) {
	<-p.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == p {
		c.lost(p)
	}
}

// lost tells Done of an end that nobody asked for.
func (c *child) lost(p *process) {
	c.forget()
	select {
	case c.done <- p.failure():
	default: // the last end was not yet heard of
	}
}

// halt stops the server without telling Done.
func (c *child) halt(ctx context.Context) error {
	p := c.process
	if p == nil { // it has ended already
		return nil
	}
	defer c.forget()
	return p.stop(ctx)
}

// end kills what a start that failed has left.
func (c *child) end() {
	if c.process != nil {
		c.process.kill()
	}
	c.forget()
}

func (c *child) forget() {
	c.process = nil
	if c.own.ended != nil {
		c.own.ended()
	}
}

func (c *child) endLeftovers(ctx context.Context) error {
	return endLeftovers(ctx, c.folder.root, c.own.farewell)
}
