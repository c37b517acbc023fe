package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// program is a server, or one of its tools, to run as a child process.
type program struct {
	path string
	args []string
	// env is added to a minimal environment. This process's own contains secrets.
	env []string
	// log is the file in the folder to which output is appended; empty: the program's
	// name with ".log".
	log string
	// polite asks the child to end; 0: SIGTERM.
	polite syscall.Signal
	// orphaned is sent by the kernel when this process ends, in whatever way;
	// 0: SIGKILL.
	orphaned syscall.Signal
}

// process is a running child. It is safe for concurrent use.
type process struct {
	name    string
	child   *os.Process
	polite  syscall.Signal
	logFile string
	done    chan struct{}
	err     error // how it ended; readable once done is closed
}

// startProcess starts p in the folder f, as its owner. The child has a process group of
// its own, so that a terminal's interrupt reaches only this process, and dies with this
// process, even by kill -9.
func startProcess(f *folder, p program) (*process, error) {
	c := &process{name: filepath.Base(p.path), polite: cmp.Or(p.polite, syscall.SIGTERM), done: make(chan struct{})}
	c.logFile = f.path(cmp.Or(p.log, c.name+".log"))
	output, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.name, err)
	}
	cmd := p.command(f, output)
	started := make(chan error)
	go func() {
		// PR_SET_PDEATHSIG is tied to the thread that forks, not to the process: so this
		// thread stays until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = output.Close() // the child has its own; ours would keep the folder's disk busy
		c.child = cmd.Process
		started <- err
		if err == nil {
			c.err = cmd.Wait()
			close(c.done)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return c, nil
}

func (p program) command(f *folder, output *os.File) *exec.Cmd {
	cmd := exec.Command(p.path, p.args...) //nolint:noctx // the child outlives the context that it is started with
	cmd.Dir = "/"                          // the child may not be able to reach our directory
	cmd.Env = append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C.UTF-8", "TZ=UTC"}, p.env...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.ExtraFiles = []*os.File{f.handle} // file descriptor 3, see inherited
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  cmp.Or(p.orphaned, syscall.SIGKILL),
		Credential: f.owner,
	}
	return cmd
}

// runProcess runs p to its end. If ctx ends first, it kills p.
func runProcess(ctx context.Context, f *folder, p program) error {
	c, err := startProcess(f, p)
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

// poll calls done until it returns true, or ctx ends.
func poll(ctx context.Context, done func() bool) error {
	for !done() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// await waits until ready returns true, the child ends, or ctx ends.
func (c *process) await(ctx context.Context, ready func(context.Context) bool) error {
	if err := poll(ctx, func() bool { return c.ended() || ready(ctx) }); err != nil {
		return fmt.Errorf("%s did not become ready in time, its log is %s: %w", c.name, c.logFile, err)
	}
	if c.ended() {
		return c.failure()
	}
	return nil
}

func (c *process) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// stop asks the child to end and waits for it. If ctx ends first, it kills the child
// and returns an error.
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
	if c.ended() { // another process may have its number by now
		return
	}
	_ = syscall.Kill(-c.child.Pid, syscall.SIGKILL) // fails only where it has just ended
	<-c.done
}

// failure is the error for a child that ended by itself, with the end of its log.
func (c *process) failure() error {
	how := "ended"
	if c.err != nil {
		how = c.err.Error()
	}
	return fmt.Errorf("%s: %s; the end of %s: %s", c.name, how, c.logFile, lastLines(c.logFile))
}

// endLeftovers ends every process that was started on the folder root, and waits until
// all are gone: a server whose parent was killed, or the processes of a server that was
// killed. The caller holds root's lock, so none of them belongs to anybody. Each has the
// folder as file descriptor 3; a process that reuses its number does not. They get the
// signals one after the other, and at last SIGKILL.
func endLeftovers(ctx context.Context, root string, signals []syscall.Signal) error {
	const patience = 5 * time.Second
	signals = append(slices.Clip(signals), syscall.SIGKILL)
	var last time.Time
	var pids []int
	sent := -1
	err := poll(ctx, func() bool {
		if pids = holders(root); len(pids) == 0 {
			return true
		}
		if final := len(signals) - 1; sent == final || time.Since(last) >= patience {
			sent, last = min(sent+1, final), time.Now()
			signalAll(pids, root, signals[sent])
		}
		return false
	})
	if err != nil {
		return fmt.Errorf("a server of an earlier run (process %d) still runs in %s: %w", pids[0], root, err)
	}
	return nil
}

func signalAll(pids []int, root string, signal syscall.Signal) {
	for _, pid := range pids {
		child, err := os.FindProcess(pid) // refers to this very process if the kernel has pidfds
		if err != nil {
			continue
		}
		if holds(pid, root) {
			_ = child.Signal(signal) // fails if it has just ended
		}
		_ = child.Release()
	}
}

func holders(root string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc") // without /proc, nothing can be found
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() && holds(pid, root) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// holds checks every thread: the first one may end before the others, which still have
// the files.
func holds(pid int, root string) bool {
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "fd", "3")) // fails only for a bad pattern
	for _, file := range files {
		if held, err := os.Readlink(file); err == nil && held == root {
			return true
		}
	}
	return false
}
