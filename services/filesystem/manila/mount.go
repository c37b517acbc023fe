package manila

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
	"syscall"
	"time"
)

// mountProcess is a ceph-fuse that serves one folder.
type mountProcess struct {
	command *exec.Cmd
	said    output
	ended   chan struct{} // closed at its end
}

const (
	mountPoll = 5 * time.Millisecond
	endTime   = 10 * time.Second
)

// startMount starts ceph-fuse and waits until the folder is mounted.
func startMount(ctx context.Context, folder string, arguments ...string) (*mountProcess, error) {
	program, err := exec.LookPath(client)
	if err != nil {
		return nil, fmt.Errorf("%s is not installed on this machine, which mounts shares with it: install it (Debian: apt-get install %[1]s)", client)
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("mount with %s: needs root", client)
	}
	before, err := device(folder)
	if err != nil {
		return nil, err
	}
	p := &mountProcess{command: exec.Command(program, append(arguments, folder)...), ended: make(chan struct{})} //nolint:gosec,noctx // it lives as long as the session
	p.command.Stdout, p.command.Stderr = &p.said, &p.said
	p.command.WaitDelay = endTime
	// Without this process, it would wait for a cluster that may be away. See removeLeftovers.
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.start(); err != nil {
		return nil, err
	}
	for {
		if now, err := device(folder); err == nil && now != before {
			return p, nil
		}
		select {
		case <-p.ended:
			return nil, fmt.Errorf("mount the share: %s", p.said.last())
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("mount the share: %w", ctx.Err()), p.stop(folder))
		case <-time.After(mountPoll):
		}
	}
}

// start starts the process, on a thread that lives as long: the kernel ends the process with it.
func (p *mountProcess) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.command.Start()
		started <- err
		if err == nil {
			_ = p.command.Wait() // how it ended is in its output
			close(p.ended)
		}
	}()
	return <-started
}

// stop unmounts the folder and ends the process.
func (p *mountProcess) stop(folder string) error {
	// By force, because a process that waits for its own files could not end.
	err := syscall.Unmount(folder, syscall.MNT_FORCE|syscall.MNT_DETACH)
	if errors.Is(err, syscall.EINVAL) { // it is not mounted
		err = nil
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		select {
		case <-p.ended:
			return err
		default:
			_ = p.command.Process.Signal(signal)
		}
		select {
		case <-p.ended:
			return err
		case <-time.After(endTime):
		}
	}
	return errors.Join(err, fmt.Errorf("%s does not end", client))
}

// device is what holds a folder's files.
func device(folder string) (uint64, error) {
	var s syscall.Stat_t
	err := syscall.Stat(folder, &s)
	return s.Dev, err
}

// output keeps the end of what a process says.
type output struct {
	mu   sync.Mutex
	text []byte
}

const maxOutput = 4096

// Write implements io.Writer.
func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text = append(o.text, b...)
	o.text = o.text[max(0, len(o.text)-maxOutput):]
	return len(b), nil
}

// last is the last line.
func (o *output) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines := strings.Split(string(bytes.TrimSpace(o.text)), "\n")
	return fmt.Sprintf("%s says: %s", client, lines[len(lines)-1])
}
