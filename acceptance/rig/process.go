package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// Command is a program to run. Its output is appended to NAME.out and NAME.err in Dir.
type Command struct {
	Name string
	Path string
	Args []string
	Env  []string // all of it
	Dir  string
	User *syscall.Credential // nil: this process's
}

// Process is a running program, which dies with this process. It is safe for
// concurrent use.
type Process struct {
	stdout, stderr string
	child          *os.Process
	done           chan struct{}
	state          *os.ProcessState // readable once done is closed
}

// Start starts a program.
func Start(c Command) (*Process, error) {
	p := &Process{
		stdout: filepath.Join(c.Dir, c.Name+".out"), stderr: filepath.Join(c.Dir, c.Name+".err"), done: make(chan struct{}),
	}
	cmd := exec.Command(c.Path, c.Args...) //nolint:noctx // it outlives the context that starts it
	cmd.Env, cmd.Dir = c.Env, c.Dir
	for path, stream := range map[string]*io.Writer{p.stdout: &cmd.Stdout, p.stderr: &cmd.Stderr} {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		*stream = file
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: c.User}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is tied to the thread that forks
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		p.child = cmd.Process
		started <- err
		if err == nil {
			_ = cmd.Wait() // the state has the result
			p.state = cmd.ProcessState
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	return p, nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.child.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends a signal. If the process has ended, it does nothing.
func (p *Process) Signal(s syscall.Signal) { _ = p.child.Signal(s) }

// Kill ends the process by kill -9 and waits for it.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.done
}

// Wait waits for the end, and returns the exit code; -1: a signal killed the process.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.done:
		return p.state.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("process %d is still running: %w", p.PID(), ctx.Err())
	}
}

// Stop sends SIGTERM, and waits for the end, at most for limit.
func (p *Process) Stop(limit time.Duration) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p.Signal(syscall.SIGTERM)
	return p.Wait(ctx)
}

// Stdout returns the standard output so far, including that of earlier runs under the same
// name.
func (p *Process) Stdout() string { return read(p.stdout) }

// Stderr is Stdout for the standard error.
func (p *Process) Stderr() string { return read(p.stderr) }

func read(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

// Ended returns an error with the end of the program's output if it has ended.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s; the end of its output: %s", p.state, lastLines(p.Stderr()))
	default:
		return nil
	}
}

// Await calls ready again and again, with pauses, until it returns true. It returns an error
// if the process ends, or ctx does.
func (p *Process) Await(ctx context.Context, pause time.Duration, ready func() bool) error {
	for !ready() {
		if err := p.Ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

func lastLines(text string) string {
	if len(text) > 1500 {
		text = text[len(text)-1500:]
	}
	return strings.TrimSpace(text)
}

// Result is the result of a program.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// Run runs a program to its end. It returns an error if the program did not run, but not if
// it failed.
func Run(ctx context.Context, c Command) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.User}
	err := cmd.Run()
	if _, failed := errors.AsType[*exec.ExitError](err); failed && ctx.Err() == nil {
		err = nil
	}
	for suffix, text := range map[string][]byte{".out": stdout.Bytes(), ".err": stderr.Bytes()} {
		err = errors.Join(err, appendFile(filepath.Join(c.Dir, c.Name+suffix), text))
	}
	if err != nil {
		return Result{}, fmt.Errorf("run %s %s: %w", c.Name, strings.Join(c.Args, " "), err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, nil
}

func appendFile(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}
