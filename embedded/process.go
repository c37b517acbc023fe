package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// program is a server, or a tool of one, to be run as a child of this process.
type program struct {
	path string
	args []string
	// env is added to a minimal environment. This process's own is not passed
	// on: it holds secrets that are none of the child's business.
	env []string
	// folder is what the child works in; it runs as the folder's owner.
	folder *folder
	// log is the name of the file in folder that output is appended to.
	log string
	// polite asks the child to end.
	polite syscall.Signal
	// orphaned is what the kernel sends to the child when this process ends
	// in whatever way.
	orphaned syscall.Signal
}

// process is a running child. All its methods are safe for concurrent use.
type process struct {
	name    string
	child   *os.Process
	polite  syscall.Signal
	logFile string
	done    chan struct{}
	err     error // how it ended; to be read after done
}

// startProcess starts p in a process group of its own, so that a terminal's
// interrupt reaches this process alone. The child dies with this process, also
// by kill -9.
func startProcess(p program) (*process, error) {
	cmd, output, err := p.command()
	if err != nil {
		return nil, err
	}
	c := &process{name: p.name(), polite: p.polite, logFile: output.Name(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// PR_SET_PDEATHSIG is tied to the thread that forks, not to the
		// process: so this thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = output.Close() // the child has its own; ours would keep the folder's disk busy
		if err != nil {
			started <- err
			return
		}
		c.child = cmd.Process
		started <- nil
		c.err = cmd.Wait()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return c, nil
}

func (p program) command() (*exec.Cmd, *os.File, error) {
	output, err := os.OpenFile(p.folder.path(p.log), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the log of %s: %w", p.name(), err)
	}
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // the child outlives the context that it is started with
	cmd.Dir = "/"                          // the child might not be able to reach ours
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}, p.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{p.folder.handle} // file descriptor 3, see folder.childPath
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  p.orphaned,
		Credential: p.folder.owner,
	}
	return cmd, output, nil
}

func (p program) name() string { return filepath.Base(p.path) }

// runProcess runs p to its end; when ctx ends first, p is killed.
func runProcess(ctx context.Context, p program) error {
	c, err := startProcess(p)
	if err != nil {
		return err
	}
	select {
	case <-c.done:
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("%s: %w", c.name, ctx.Err())
	}
	if c.err != nil {
		return c.failure()
	}
	return nil
}

// await waits until is says yes.
func (c *process) await(ctx context.Context, is func(context.Context) bool) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !is(ctx) {
		select {
		case <-tick.C:
		case <-c.done:
			return c.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready in time, its log is %s: %w", c.name, c.logFile, ctx.Err())
		}
	}
	return nil
}

// stop asks the child to end and waits for it. When ctx ends first, the child
// is killed, and the error says so.
func (c *process) stop(ctx context.Context) error {
	if err := c.child.Signal(c.polite); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("%s did not end in time and was killed: %w", c.name, ctx.Err())
	}
}

// kill ends the child and its process group at once, and waits for the child.
func (c *process) kill() {
	select {
	case <-c.done: // its number may be another's by now
		return
	default:
	}
	_ = syscall.Kill(-c.child.Pid, syscall.SIGKILL) // fails only where it has just ended
	<-c.done
}

// failure is the error for a child that ended by itself, with the last words
// it said.
func (c *process) failure() error {
	how := "ended"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s: %s; the end of %s: %s", c.name, how, c.logFile, lastLines(c.logFile))
}
