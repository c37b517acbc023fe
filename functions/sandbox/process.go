package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errGone says that the worker ended before it had answered.
var errGone = errors.New("the worker ended")

// process is a worker as the pool sees it. All its methods are safe for
// concurrent use.
type process struct {
	link   *link
	stdout *os.File
	child  *os.Process
	stderr tail
	done   chan struct{} // closed when the child has ended and been waited for
	ended  error         // how; to be read after done

	number atomic.Uint64 // of the last request

	mu      sync.Mutex
	waiting map[uint64]chan message // nil when the worker has ended
}

// startProcess starts a worker. It dies with this process, also by kill -9, and
// has neither its environment nor its files.
func startProcess(s settings) (*process, error) {
	// Not StdoutPipe, which is closed with the child: the last replies are read later.
	stdout, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	defer childOut.Close() // the child has its own
	p := &process{stdout: stdout, done: make(chan struct{}), waiting: map[uint64]chan message{}}
	cmd := exec.Command(s.Command[0], s.Command[1:]...) //nolint:noctx // the worker outlives the context that it is started with
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.Stdout, cmd.Stderr = childOut, &p.stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, err := cmd.StdinPipe()
	if err == nil {
		p.link = &link{in: stdout, out: stdin}
		err = p.start(cmd)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a worker: %w", err), stdout.Close())
	}
	if err := p.link.send(message{Settings: &s}); err != nil {
		p.kill()
		return nil, fmt.Errorf("start a worker: %w", p.failure())
	}
	go p.listen()
	return p, nil
}

func (p *process) start(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		// PR_SET_PDEATHSIG is tied to the thread that forks, which therefore stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		p.child = cmd.Process
		started <- err
		if err == nil {
			p.ended = cmd.Wait()
			close(p.done)
		}
	}()
	return <-started
}

// listen passes replies to those who wait for them, until the worker has ended.
func (p *process) listen() {
	for {
		m, err := p.link.receive()
		if err != nil {
			break
		}
		p.mu.Lock()
		waiting := p.waiting[m.ID]
		delete(p.waiting, m.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- m
		}
	}
	p.kill() // it may run on after a malformed message
	p.mu.Lock()
	lost := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, waiting := range lost {
		close(waiting)
	}
}

// ask sends a request and waits for the reply. When ctx ends first, the worker cancels
// the request. release gets the reply, or the zero message, when the worker has finished,
// perhaps after ask returns. The error is errGone, errFrame or ctx's.
func (p *process) ask(ctx context.Context, m message, release func(message)) (message, error) {
	m.ID = p.number.Add(1)
	waiting := make(chan message, 1)
	if err := p.send(m, waiting); err != nil {
		release(message{})
		return message{}, err
	}
	select {
	case reply, answered := <-waiting:
		release(reply)
		if !answered {
			return message{}, errGone
		}
		return reply, nil
	case <-ctx.Done():
		p.tell(message{ID: m.ID, Cancel: true})
		go func() { release(<-waiting) }()
		return message{}, ctx.Err()
	}
}

// send sends a request whose reply goes to waiting, which is closed if the worker
// ends.
func (p *process) send(m message, waiting chan message) error {
	p.mu.Lock()
	gone := p.waiting == nil
	if !gone {
		p.waiting[m.ID] = waiting
	}
	p.mu.Unlock()
	if gone {
		return errGone
	}
	err := p.link.send(m)
	if err == nil {
		return nil
	}
	p.mu.Lock()
	delete(p.waiting, m.ID)
	p.mu.Unlock()
	if errors.Is(err, errFrame) {
		return err
	}
	return errGone
}

// tell sends a message without a reply. A worker that has ended needs none.
func (p *process) tell(m message) { _ = p.link.send(m) }

// kill ends the worker at once, and waits for it.
func (p *process) kill() {
	select {
	case <-p.done: // another process may have its number by now
	default:
		_ = syscall.Kill(-p.child.Pid, syscall.SIGKILL) // fails only where it has just ended
		<-p.done
	}
	_ = p.stdout.Close()
}

// failure says how the worker ended, with its last output; for logs.
func (p *process) failure() error {
	<-p.done
	if p.ended == nil {
		return errGone
	}
	return fmt.Errorf("%w: %w: %s", errGone, p.ended, p.stderr.String())
}

// exceeded says whether the child ended by its limit of memory or CPU time.
func (p *process) exceeded(cpu time.Duration) bool {
	if output := p.stderr.String(); strings.Contains(output, "out of memory") || strings.Contains(output, "cannot allocate memory") {
		return true
	}
	exit, ok := errors.AsType[*exec.ExitError](p.ended)
	return ok && exit.UserTime()+exit.SystemTime() >= cpu-time.Second
}

// tail keeps the beginning and the end of what is written to it: a panic is the reason
// and then a long list of goroutines.
type tail struct {
	mu    sync.Mutex
	first []byte
	last  []byte
}

const tailSize = 2048

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	written := len(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	room := min(tailSize-len(t.first), len(p))
	t.first = append(t.first, p[:room]...)
	t.last = append(t.last, p[room:]...)
	if extra := len(t.last) - tailSize; extra > 0 {
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	return written, nil
}

// String is one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.Join(bytes.Fields(slices.Concat(t.first, t.last)), []byte{' '}))
}
