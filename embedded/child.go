package embedded

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// child is a server that runs as a child process on a folder. Every such server of
// this package embeds a child, whose exported methods become its own; they are safe
// for concurrent use.
type child struct {
	title string // in error messages, such as "MariaDB server"
	// asRoot leaves the server this process's user even if that is root.
	asRoot bool
	// signals end processes of an earlier run, each after some patience, before
	// SIGKILL does.
	signals []syscall.Signal
	// tryPort says whether the server can listen on a port; nil: tryTCP.
	tryPort func(context.Context, int) error

	folder *folder
	port   int
	server server
	done   chan error

	mu      sync.Mutex // serializes the start, Restart, Kill and Stop
	process *process   // nil: the server does not run
	closed  bool
}

// server is what the servers of this package differ in. child has defaults for
// prepare, serving and ended, which do nothing. No two methods run at once.
type server interface {
	base() *child
	// fill makes what the server needs in its folder, before the first start.
	fill(ctx context.Context) error
	// prepare runs before each start of the process.
	prepare(ctx context.Context) error
	// program is the process to start.
	program() program
	// ready says whether process pid serves; it is called until it does.
	ready(ctx context.Context, pid int) bool
	// serving runs after each start, once the server is ready.
	serving(ctx context.Context) error
	// ended runs after each end, and after a start that failed halfway.
	ended()
}

// startServer starts s on the folder dir, until Stop or until this process ends. If it
// fails, nothing runs and nobody holds the folder.
func startServer[S server](ctx context.Context, dir string, s S) (S, error) {
	c := s.base()
	err := c.takeFolder(dir)
	if err == nil {
		err = c.open(ctx, s)
	}
	if err != nil {
		var none S
		return none, err
	}
	return s, nil
}

func (c *child) takeFolder(dir string) (err error) {
	c.done = make(chan error, 1)
	c.folder, err = openFolder(dir, c.asRoot)
	return err
}

// open fills the folder and starts the server.
func (c *child) open(ctx context.Context, s server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.server = s
	err := c.firstStart(ctx)
	if err != nil {
		c.killProcess()
		c.closed = true
		c.folder.close()
	}
	return err
}

func (c *child) firstStart(ctx context.Context) (err error) {
	if err := c.endLeftovers(ctx); err != nil {
		return err
	}
	try := c.tryPort
	if try == nil {
		try = tryTCP
	}
	if c.port, err = c.folder.storedPort(ctx, portFile, try); err != nil {
		return err
	}
	if err := c.server.fill(ctx); err != nil {
		return err
	}
	return c.startProcess(ctx)
}

func (c *child) base() *child                  { return c }
func (c *child) prepare(context.Context) error { return nil }
func (c *child) serving(context.Context) error { return nil }
func (c *child) ended()                        {}

// Host is the address that the server listens on: loopback.
func (c *child) Host() string { return loopback }

// Port is the port that clients connect to.
func (c *child) Port() int { return c.port }

// Address is host:port for clients.
func (c *child) Address() string { return localAddress(c.port) }

// Done receives an error when the server ends without Stop or Restart, and is
// closed by Stop.
func (c *child) Done() <-chan error { return c.done }

// Restart stops the server if it runs, and starts it again with the same data at
// the same address. It cuts open sessions.
func (c *child) Restart(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return fmt.Errorf("the %s in %s has been stopped and cannot be restarted", c.title, c.folder.root)
	}
	if err := c.stopProcess(ctx); err != nil {
		return err
	}
	if err := c.endLeftovers(ctx); err != nil {
		return err
	}
	return c.startProcess(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (c *child) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.process; p != nil {
		p.kill()
		c.reportEnd(p)
	}
}

// Stop ends the server and releases the folder. If ctx ends first, Stop kills the
// server and returns an error; the data on disk stays intact. A second Stop does
// nothing.
func (c *child) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	defer c.folder.close()
	err := c.stopProcess(ctx)
	close(c.done)
	return err
}

// startProcess starts the server and waits until it serves. If it fails, nothing
// runs.
func (c *child) startProcess(ctx context.Context) error {
	err := c.launch(ctx)
	if err == nil {
		err = c.server.serving(ctx)
	}
	if err != nil {
		c.killProcess()
	}
	return err
}

// startLimit limits a start: RabbitMQ takes most of a minute on a busy machine.
const startLimit = 5 * time.Minute

func (c *child) launch(ctx context.Context) error {
	if err := c.server.prepare(ctx); err != nil {
		return err
	}
	p, err := startProcess(c.folder, c.server.program())
	if err != nil {
		return err
	}
	c.process = p
	go c.watch(p)
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	return p.await(ctx, func(ctx context.Context) bool { return c.server.ready(ctx, p.child.Pid) })
}

// watch waits for the end of p, which c.process no longer is if its end was wanted.
func (c *child) watch(p *process) {
	<-p.done
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == p {
		c.reportEnd(p)
	}
}

func (c *child) reportEnd(p *process) {
	c.clearProcess()
	select {
	case c.done <- p.failure():
	default: // nobody has received the last one yet
	}
}

func (c *child) stopProcess(ctx context.Context) error {
	if c.process == nil {
		return nil
	}
	defer c.clearProcess()
	return c.process.stop(ctx)
}

func (c *child) killProcess() {
	if c.process != nil {
		c.process.kill()
	}
	c.clearProcess()
}

func (c *child) clearProcess() {
	c.process = nil
	c.server.ended()
}

func (c *child) endLeftovers(ctx context.Context) error {
	return endLeftovers(ctx, c.folder.root, c.signals)
}
