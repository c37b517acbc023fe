package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
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
	link     *link
	stdin    *os.File
	stdout   *os.File
	child    *os.Process
	lastSaid tail
	done     chan struct{} // closed when the child has ended and been waited for
	ended    error         // how; to be read after done

	time time.Duration // of CPUs that the child has; 0 without a limit

	number atomic.Uint64 // of the last request

	mu      sync.Mutex
	waiting map[uint64]chan message
	gone    bool
}

// startProcess starts a worker. It dies with this process, also by kill -9, and
// has neither its environment nor its files.
func startProcess(command []string, s settings) (*process, error) {
	childIn, stdin, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a worker: %w", err)
	}
	stdout, childOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a worker: %w", err), childIn.Close(), stdin.Close())
	}
	p := &process{
		link:  &link{in: stdout, out: stdin},
		stdin: stdin, stdout: stdout,
		time:    time.Duration(s.CompileSeconds) * time.Second,
		done:    make(chan struct{}),
		waiting: map[uint64]chan message{},
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx // the worker outlives the context that it is started with
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C.UTF-8", "TZ=UTC"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = childIn, childOut, &p.lastSaid
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.start(cmd); err != nil {
		return nil, errors.Join(fmt.Errorf("start a worker: %w", err),
			childIn.Close(), childOut.Close(), stdin.Close(), stdout.Close())
	}
	_, _ = childIn.Close(), childOut.Close() // the child has its own
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
		// PR_SET_PDEATHSIG is tied to the thread that forks, not to the
		// process: so this thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.child = cmd.Process
		started <- nil
		p.ended = cmd.Wait()
		close(p.done)
	}()
	return <-started
}

// listen hands replies to those who wait for them, until the worker has ended.
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
	p.kill() // one that says nonsense is of no use, either
	p.mu.Lock()
	p.gone = true
	lost := p.waiting
	p.waiting = nil
	p.mu.Unlock()
	for _, waiting := range lost {
		close(waiting)
	}
}

// request sends m and returns where the reply will come; the channel is closed
// without one when the worker ends. The error is errGone.
func (p *process) request(m message) (id uint64, reply <-chan message, err error) {
	m.ID = p.number.Add(1)
	waiting := make(chan message, 1)
	p.mu.Lock()
	if p.gone {
		p.mu.Unlock()
		return 0, nil, errGone
	}
	p.waiting[m.ID] = waiting
	p.mu.Unlock()
	if err := p.link.send(m); err != nil {
		if !errors.Is(err, errFrame) {
			return 0, nil, errGone
		}
		p.mu.Lock()
		delete(p.waiting, m.ID)
		p.mu.Unlock()
		return 0, nil, err
	}
	return m.ID, waiting, nil
}

// ask sends m and waits for the reply. When ctx ends first, the worker is told
// to stop with it.
func (p *process) ask(ctx context.Context, m message) (message, error) {
	id, reply, err := p.request(m)
	if err != nil {
		return message{}, err
	}
	select {
	case m, answered := <-reply:
		if !answered {
			return message{}, errGone
		}
		return m, nil
	case <-ctx.Done():
		p.tell(message{ID: id, Cancel: true})
		return message{}, ctx.Err()
	}
}

// tell sends what has no reply. A worker that is gone need not know.
func (p *process) tell(m message) { _ = p.link.send(m) }

// kill ends the worker at once, and waits for it.
func (p *process) kill() {
	select {
	case <-p.done: // its number may be another's by now
	default:
		_ = syscall.Kill(-p.child.Pid, syscall.SIGKILL) // fails only where it has just ended
		<-p.done
	}
	_, _ = p.stdin.Close(), p.stdout.Close()
}

// failure says how the worker ended, with the last it said; for logs.
func (p *process) failure() error {
	<-p.done
	if p.ended == nil {
		return errGone
	}
	return fmt.Errorf("%w: %w: %s", errGone, p.ended, p.lastSaid.String())
}

// tail keeps the first and the last of what is written to it: Go's runtime says
// first why it ends, and a long list of goroutines then.
type tail struct {
	mu    sync.Mutex
	first []byte
	last  []byte
}

const tailSize = 2048

// Write implements io.Writer. It never fails.
func (t *tail) Write(p []byte) (int, error) {
	written := len(p)
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := min(tailSize-len(t.first), len(p)); room > 0 {
		t.first = append(t.first, p[:room]...)
		p = p[room:]
	}
	t.last = append(t.last, p...)
	if extra := len(t.last) - tailSize; extra > 0 {
		t.last = append(t.last[:0], t.last[extra:]...)
	}
	return written, nil
}

// String is one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := append(append([]byte(nil), t.first...), t.last...)
	return string(bytes.Join(bytes.Fields(text), []byte{' '}))
}

// outOfTime says whether the child ended by its limit of CPU time.
func (p *process) outOfTime() bool {
	exit := new(exec.ExitError)
	if !errors.As(p.ended, &exit) {
		return false
	}
	return p.time > 0 && exit.UserTime()+exit.SystemTime() >= p.time-time.Second
}

// outOfMemory says whether the child ended by its limit of memory.
func (p *process) outOfMemory() bool {
	said := p.lastSaid.String()
	return strings.Contains(said, "out of memory") || strings.Contains(said, "cannot allocate memory")
}
