package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func pids(p *Pool) []int {
	var all []int
	for _, h := range p.workers() {
		all = append(all, h.child.Pid)
	}
	return all
}

func TestWorkerThatEnds(t *testing.T) {
	p := open(t)
	code := guestCode(t, "guest")
	run(t, p, code, fields{"do": "echo"})
	outcomes := make(chan Outcome, 6)
	for range cap(outcomes) {
		go func() { outcomes <- run(t, p, code, fields{"do": "sleep", "count": 4000}) }()
	}
	eventually(t, "all calls run", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.slots[0].worker.busy == 3 && p.slots[1].worker.busy == 3
	})
	time.Sleep(200 * time.Millisecond) // and have left the pipe
	victim := pids(p)[0]
	must(t, syscall.Kill(victim, syscall.SIGKILL))
	count := map[Status]int{}
	for range cap(outcomes) {
		o := <-outcomes
		count[o.Status]++
		if o.Status == InternalError && !strings.Contains(string(o.Result), "worker") {
			t.Errorf("result %s", o.Result)
		}
	}
	if count[InternalError] != 3 || count[Success] != 3 {
		t.Errorf("outcomes %v, want three that failed with their worker and three that did not", count)
	}
	eventually(t, "two workers again", func() bool { now := pids(p); return len(now) == 2 && now[0] != victim && now[1] != victim })
	for range 4 {
		if o := run(t, p, code, fields{"do": "echo"}); o.Status != Success {
			t.Errorf("%s: %s", o.Status, o.Result)
		}
	}
}

// A script whose worker is killed while it checks the script is checked again.
func TestWorkerEndsDuringPrepare(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers = 1 })
	must(t, p.Prepare(t.Context(), script("function main() { return 0 }"))) // the engine is there
	// Long enough that most kills meet the check.
	long := strings.Repeat("function f() { return [1, 2, 3].map((n) => n + 1) }\n", 100_000)
	for n := range 20 {
		done := make(chan error, 1)
		code := script(fmt.Sprintf("%s function main() { return %d }", long, n))
		go func() { done <- p.Prepare(t.Context(), code) }()
		time.Sleep(time.Duration(n) * 2 * time.Millisecond)
		for _, pid := range pids(p) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func TestWorkerThatHoldsMuchMemoryIsReplaced(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers, o.Overhead = 1, 1 }) // any worker holds more
	code := script(`function main() { return {} }`)
	sleeping := make(chan Outcome, 1)
	if o := run(t, p, code, nil); o.Status != Success {
		t.Fatalf("%s: %s", o.Status, o.Result)
	}
	eventually(t, "a worker", func() bool { return len(pids(p)) == 1 })
	seen := map[int]bool{}
	go func() {
		sleeping <- run(t, p, script(`function main() { return new Promise((d) => setTimeout(() => d({slept: 1}), 2000)) }`), nil)
	}()
	for range 5 {
		seen[workerPID(t, p)] = true
		if o := run(t, p, code, nil); o.Status != Success {
			t.Errorf("%s: %s", o.Status, o.Result)
		}
	}
	if len(seen) < 3 {
		t.Errorf("only the workers %v", seen)
	}
	if o := <-sleeping; o.Status != Success {
		t.Errorf("the call of a worker on its way out: %s: %s", o.Status, o.Result)
	}
	eventually(t, "the old workers are gone", func() bool {
		now := workerPID(t, p)
		for pid := range seen {
			if pid != now && syscall.Kill(pid, 0) == nil {
				return false
			}
		}
		return true
	})
}

func TestCancelledCall(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers, o.Concurrency = 1, 1 })
	code := guestCode(t, "guest")
	run(t, p, code, fields{"do": "echo"})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(200*time.Millisecond, cancel)
	_, err := p.Run(ctx, Call{Code: code, Input: []byte(`{"do":"loop"}`), Limits: defaultLimits()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	// The one place is free again.
	if o := run(t, p, code, fields{"do": "echo"}); o.Status != Success {
		t.Errorf("%s: %s", o.Status, o.Result)
	}
}

func TestCallsWaitForAPlace(t *testing.T) {
	p := open(t, func(o *Options) { o.Workers, o.Concurrency = 2, 2 })
	code := script(`function main() { return new Promise((d) => setTimeout(() => d({}), 200)) }`)
	run(t, p, code, nil)
	var all sync.WaitGroup
	var mu sync.Mutex
	var longest time.Duration
	begin := time.Now()
	for range 12 {
		all.Go(func() {
			o := run(t, p, code, nil)
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, o.Wait)
			if o.Status != Success {
				t.Errorf("%s: %s", o.Status, o.Result)
			}
		})
	}
	all.Wait()
	if took := time.Since(begin); took < 600*time.Millisecond || longest < 300*time.Millisecond {
		t.Errorf("12 calls of 200 ms with 4 places took %v, the longest wait %v", took, longest)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	for range 4 {
		all.Go(func() {
			_, _ = p.Run(context.WithoutCancel(t.Context()), Call{Code: code, Input: []byte("{}"), Limits: defaultLimits()})
		})
	}
	eventually(t, "no place", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.best(code.Hash) == nil })
	if _, err := p.Run(ctx, Call{Code: code, Limits: defaultLimits()}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	all.Wait()
	eventually(t, "places", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.slots[0].worker.busy+p.slots[1].worker.busy == 0
	})
}

func TestClose(t *testing.T) {
	p := open(t)
	code := guestCode(t, "guest")
	run(t, p, code, fields{"do": "echo"})
	workers := pids(p)
	failed := make(chan error, 1)
	go func() {
		_, err := p.Run(context.Background(), Call{Code: code, Input: []byte(`{"do":"sleep","count":100000}`), Limits: defaultLimits()})
		failed <- err
	}()
	time.Sleep(100 * time.Millisecond)
	must(t, p.Close())
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	for _, pid := range workers {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("worker %d is still there", pid)
		}
	}
	if _, err := p.Run(t.Context(), Call{Code: code, Limits: defaultLimits()}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if err := p.Prepare(t.Context(), script(fmt.Sprint("// ", time.Now()))); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	must(t, p.Close())
}

// TestWorkersDieWithTheirParent kills a process that has a pool.
func TestWorkersDieWithTheirParent(t *testing.T) {
	if os.Getenv("SANDBOX_TEST_PARENT") != "" {
		p := open(t)
		fmt.Println("workers", pids(p)[0], pids(p)[1])
		time.Sleep(time.Hour)
	}
	self, err := os.Executable()
	must(t, err)
	parent := exec.Command(self, "-test.run=^TestWorkersDieWithTheirParent$", "-test.count=1")
	parent.Env = append(os.Environ(), "SANDBOX_TEST_PARENT=1")
	out, err := parent.StdoutPipe()
	must(t, err, parent.Start())
	var a, b int
	if _, err := fmt.Fscanf(out, "workers %d %d\n", &a, &b); err != nil {
		t.Fatal(err)
	}
	must(t, parent.Process.Kill())
	_ = parent.Wait()
	eventually(t, "the workers are gone", func() bool { return dead(a) && dead(b) })
}

// dead counts a zombie as dead: it depends on the machine who waits for it.
func dead(pid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || bytes.Contains(status, []byte(") Z "))
}

// TestWorkerIsConfined looks at a worker from outside.
func TestWorkerIsConfined(t *testing.T) {
	t.Setenv("SECRET_OF_THE_RUNTIME", "x")
	p := open(t, func(o *Options) { o.Workers = 1 })
	run(t, p, script(`function main() { return {} }`), nil)
	pid := workerPID(t, p)
	read := func(name string) string {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil && name != "environ" { // a worker cannot be looked into
			t.Fatal(err)
		}
		return string(content)
	}
	if environment := read("environ"); strings.Contains(environment, "SECRET") {
		t.Errorf("environment %q", environment)
	}
	status := read("status")
	for _, want := range []string{"NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(status, want) {
			t.Errorf("the status lacks %q", want)
		}
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	must(t, err)
	for _, thread := range threads {
		if !strings.Contains(read("task/"+thread.Name()+"/status"), "Seccomp:\t2") {
			t.Errorf("thread %s may use all system calls", thread.Name())
		}
	}
	if !strings.Contains(read("limits"), "Max core file size        0") {
		t.Error("a worker may leave a core dump")
	}
	if got := strings.TrimSpace(read("oom_score_adj")); got != "1000" {
		t.Errorf("the kernel's order is %s", got)
	}
}

// TestConfinementHolds has a process do, confined, what a hole in the sandbox
// would be used for.
func TestConfinementHolds(t *testing.T) {
	if os.Getenv("SANDBOX_TEST_CONFINED") == "" {
		self, err := os.Executable()
		must(t, err)
		child := exec.Command(self, "-test.run=^TestConfinementHolds$", "-test.count=1", "-test.v")
		child.Env = append(os.Environ(), "SANDBOX_TEST_CONFINED=1")
		if out, err := child.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("PASS")) {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	_, err := confine(settings{Options: Options{Overhead: 1 << 30}})
	must(t, err)
	for name, try := range map[string]func() error{
		"a socket":            func() error { _, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0); return err },
		"a local socket":      func() error { _, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0); return err },
		"a program":           func() error { return syscall.Exec("/bin/true", []string{"true"}, nil) },
		"a process":           func() error { return exec.Command("/bin/true").Run() },
		"a signal":            func() error { return syscall.Kill(os.Getppid(), 0) },
		"a tracer":            func() error { return syscall.PtraceAttach(os.Getppid()) },
		"another user":        func() error { _, _, e := syscall.RawSyscall(syscall.SYS_SETUID, 1, 0, 0); return errnoOf(e) },
		"another root folder": func() error { return syscall.Chroot("/") },
		"a mount":             func() error { return syscall.Mount("none", "/tmp", "tmpfs", 0, "") },
		"a namespace":         func() error { return syscall.Unshare(syscall.CLONE_NEWUSER) },
		"a symbolic link":     func() error { return os.Symlink("a", "/tmp/sandbox-test-link") },
		"a device":            func() error { return syscall.Mknod("/tmp/sandbox-test-device", syscall.S_IFCHR, 5) },
		"a core dump":         func() error { return syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{Cur: 1, Max: 1}) },
	} {
		if err := try(); err == nil && name != "a core dump" {
			t.Errorf("%s: allowed", name)
		}
	}
	must(t, os.WriteFile(t.TempDir()+"/f", []byte("x"), 0o600))
	var all sync.WaitGroup // threads can still be made
	for range 50 {
		all.Go(func() { time.Sleep(10 * time.Millisecond) })
	}
	all.Wait()
}

func errnoOf(e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func TestWorkerWithoutAPool(t *testing.T) {
	if err := Worker(t.Context(), strings.NewReader(""), io.Discard); err != nil {
		t.Errorf("nothing said: %v", err)
	}
	for name, said := range map[string]string{"nonsense": "GET / HTTP/1.1\r\n\r\n", "no settings": "\x00\x00\x00\x06\x00\x00\x00\x02{}"} {
		if err := Worker(t.Context(), strings.NewReader(said), io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no command": {Folder: "/x"}, "no folder": {Command: []string{"x"}}, "a relative folder": {Command: []string{"x"}, Folder: "x"},
		"no logger": {Command: []string{"x"}, Folder: "/x"},
	} {
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	o := Options{Command: []string{"/no/such/program"}, Folder: t.TempDir(), Logger: open(t).options.Logger}
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "start a worker") {
		t.Errorf("error %v", err)
	}
}
