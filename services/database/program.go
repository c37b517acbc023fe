package database

import (
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
	"unicode"

	"golang.org/x/sys/unix"
)

// Program is a server's client program that copies a database, such as pg_dump. It runs as a
// child process that ends with this process.
type Program struct {
	Path string
	Args []string
	// Env is the whole environment. Passwords belong here: other users cannot read it.
	Env []string
}

// ProgramError is the error of a program that failed.
type ProgramError struct {
	// Program is its name, Message the first line in which it reported an error.
	Program, Message string
	err              error
}

func (e *ProgramError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("%s: %v", e.Program, e.err)
	}
	return fmt.Sprintf("%s: %s", e.Program, e.Message)
}

// Unwrap returns how the program ended.
func (e *ProgramError) Unwrap() error { return e.err }

// grace is how long Run waits for the other end of a pipe after the program was killed.
const grace = 2 * time.Second

// Run runs the program to its end. It gives it the content of in (nil: none), reads in to its
// end after the program succeeded, and writes what the program writes to out (nil: nowhere).
// If ctx ends or in or out fails, Run kills the program and returns that error. All errors of the
// program itself are *ProgramError.
func (p Program) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	running, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	cmd := p.command(running)
	var faults errorLine
	cmd.Stderr = &faults
	copied, err := p.connect(cmd, in, out, kill)
	if err != nil {
		return err
	}
	err = runInThread(cmd, copied.started)
	select {
	case <-copied.done():
	case <-running.Done():
		select {
		case <-copied.done():
		case <-time.After(grace): // in or out is blocked
		}
	}
	if running.Err() != nil {
		return context.Cause(running)
	}
	if err != nil {
		return &ProgramError{filepath.Base(p.Path), faults.text(), err}
	}
	return copied.drain()
}

func (p Program) command(ctx context.Context) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env, cmd.Dir = p.Env, "/"
	cmd.WaitDelay = grace
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runInThread starts a command and waits for its end. Pdeathsig kills the child at the end of the
// thread that started it, which therefore waits, too.
func runInThread(cmd *exec.Cmd, started func()) error {
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started()
		if err == nil {
			err = cmd.Wait()
		}
		ended <- err
	}()
	return <-ended
}

// copies are the two pipes to and from a program.
type copies struct {
	theirs   []*os.File // the program's ends
	in       *failingReader
	finished []chan struct{}
}

// connect makes pipes for the program. An error of in or out kills it.
func (p Program) connect(cmd *exec.Cmd, in io.Reader, out io.Writer, kill func(error)) (*copies, error) {
	c := &copies{}
	if in != nil {
		r, w, err := pipe()
		if err != nil {
			return nil, fmt.Errorf("make a pipe to %s: %w", p.Path, err)
		}
		cmd.Stdin, c.theirs, c.in = r, append(c.theirs, r), &failingReader{Reader: in}
		c.copy(func() {
			_, _ = io.CopyBuffer(onlyWriter{w}, c.in, make([]byte, pipeBuffer)) // the program says why it stopped reading
			_ = w.Close()
			if c.in.err != nil {
				kill(c.in.err)
			}
		})
	}
	if out != nil {
		r, w, err := pipe()
		if err != nil {
			c.started()
			return nil, fmt.Errorf("make a pipe from %s: %w", p.Path, err)
		}
		cmd.Stdout, c.theirs = w, append(c.theirs, w)
		c.copy(func() {
			_, err := io.CopyBuffer(out, onlyReader{r}, make([]byte, pipeBuffer))
			_ = r.Close()
			if err != nil {
				kill(err)
			}
		})
	}
	return c, nil
}

const (
	pipeBuffer = 256 << 10
	pipeSize   = 1 << 20 // which every user may set; the default is 64 kB
)

// pipe makes a pipe that is large enough for the program and this process to work side by side.
func pipe() (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err != nil {
		return nil, nil, err
	}
	if raw, err := w.SyscallConn(); err == nil { // Fd would make it blocking
		_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) }) // else it works, slower
	}
	return r, w, nil
}

// onlyReader and onlyWriter hide methods by which io.CopyBuffer would do without its buffer.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

func (c *copies) copy(work func()) {
	done := make(chan struct{})
	c.finished = append(c.finished, done)
	go func() {
		defer close(done)
		work()
	}()
}

// started closes the program's ends of the pipes: it has its own.
func (c *copies) started() {
	for _, f := range c.theirs {
		_ = f.Close()
	}
}

// done is closed when all copies have ended.
func (c *copies) done() <-chan struct{} {
	all := make(chan struct{})
	go func() {
		defer close(all)
		for _, f := range c.finished {
			<-f
		}
	}()
	return all
}

// drain reads what the program did not: the input's end may be an error.
func (c *copies) drain() error {
	if c.in == nil {
		return nil
	}
	_, err := io.Copy(io.Discard, c.in)
	return err
}

// failingReader keeps the error of a reader.
type failingReader struct {
	io.Reader
	err error
}

func (r *failingReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// errorLine keeps the first line that reports an error, or else the last one: a tenant's data can
// make a program print any number of warnings.
type errorLine struct {
	line, found []byte
	reported    bool
}

const maxLine = 600

// Write implements io.Writer.
func (e *errorLine) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			e.end()
		case len(e.line) < maxLine:
			e.line = append(e.line, c)
		}
	}
	return len(p), nil
}

func (e *errorLine) end() {
	isError := strings.Contains(strings.ToLower(string(e.line)), "error")
	if len(e.line) > 0 && !e.reported {
		e.found, e.reported = append(e.found[:0], e.line...), isError
	}
	e.line = e.line[:0]
}

// text returns the line without control characters.
func (e *errorLine) text() string {
	e.end()
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(string(e.found), "?")))
}
