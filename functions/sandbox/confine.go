package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// confine restricts this process for good to what running code needs, so that a hole in
// the sandbox gives an attacker little. It returns how many files the process may open.
func confine(s settings) (files int, err error) {
	unix.Umask(0o007) // no file is for everybody
	// The kernel ends workers first when memory runs out. This comes before the next
	// restriction, after which the process cannot write the file.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return 0, fmt.Errorf("set oom_score_adj: %w", err)
	}
	// No core dumps and no debugger: the memory holds parameters of actions.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("no core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return 0, fmt.Errorf("no core dumps: %w", err)
	}
	if s.CompileSeconds > 0 {
		err = confineCompiler(s)
	} else {
		debug.SetMemoryLimit(s.Overhead)
	}
	if err != nil {
		return 0, err
	}
	if files, err = maxFiles(); err != nil {
		return 0, err
	}
	return files, denySystemCalls()
}

// confineCompiler limits a compilation: a module can be made to be hard to compile.
func confineCompiler(s settings) error {
	debug.SetMemoryLimit(s.CompileMemory / 2) // collect garbage before the limit is hit
	memory := uint64(s.CompileMemory)         //nolint:gosec // positive
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: memory, Max: memory}); err != nil {
		return fmt.Errorf("limit memory: %w", err)
	}
	seconds := uint64(s.CompileSeconds) //nolint:gosec // positive
	if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: seconds, Max: seconds}); err != nil {
		return fmt.Errorf("limit CPU time: %w", err)
	}
	return lowerPriority()
}

const compilerNiceness = 5

// lowerPriority gives calls precedence over compilations. Linux has a priority for each
// thread, which new threads inherit.
func lowerPriority() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			continue
		}
		// The system call returns 20 minus the niceness (getpriority(2)). A runtime that was
		// started at a lower priority may not raise it.
		if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-now >= compilerNiceness {
			continue
		}
		err = unix.Setpriority(unix.PRIO_PROCESS, id, compilerNiceness)
		if err != nil && !errors.Is(err, unix.ESRCH) { // the thread may have ended
			return fmt.Errorf("lower the priority: %w", err)
		}
	}
	return nil
}

func maxFiles() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("number of open files: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("number of open files: %w", err)
	}
	return int(min(limit.Max, 1<<20)), nil //nolint:gosec // at most 2^20
}

// systemCalls are what a worker needs for Go's runtime, files and pipes: no sockets,
// programs or other processes, and no privileges of root except for files.
var systemCalls = [...]string{
	// memory and threads
	"brk", "exit", "exit_group", "futex", "get_robust_list", "madvise", "membarrier", "mincore", "mmap",
	"mprotect", "mremap", "munmap", "rseq", "sched_getaffinity", "sched_yield", "set_robust_list", "set_tid_address",
	// signals, time, what the process is
	"clock_getres", "clock_gettime", "clock_nanosleep", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom",
	"getrlimit", "gettid", "gettimeofday", "getuid", "nanosleep", "prlimit64", "restart_syscall", "rt_sigaction",
	"rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "setitimer", "setrlimit", "sigaltstack", "sysinfo", "tgkill",
	"timer_create", "timer_delete", "timer_settime", "uname",
	// waiting
	"epoll_create1", "epoll_ctl", "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd2", "pipe2", "poll", "ppoll",
	// files
	"close", "copy_file_range", "dup", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchmod", "fchmodat",
	"fchown", "fchownat", "fcntl", "fdatasync", "flock", "fstat", "fstatfs", "fsync", "ftruncate", "getcwd", "getdents64",
	"ioctl", "linkat", "lseek", "lstat", "mkdirat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv",
	"pwrite64", "pwritev", "read", "readlinkat", "readv", "renameat", "renameat2", "sendfile", "splice", "stat", "statfs",
	"statx", "umask", "unlinkat", "utimensat", "write", "writev",
}

// denySystemCalls lets all threads of this process use only systemCalls; others
// fail with EPERM.
func denySystemCalls() error {
	runtime.LockOSThread() // no_new_privs is this thread's, until the filter extends it to all
	defer runtime.UnlockOSThread()
	machine, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("limit system calls: %w", err)
	}
	newThread := []seccomp.NameWithConditions{{Name: "clone", Conditions: seccomp.ArgumentConditions{
		{Argument: 0, Operation: seccomp.BitsSet, Value: unix.CLONE_THREAD},
	}}}
	var known []string
	for _, name := range systemCalls {
		if _, found := machine.SyscallNames[name]; found {
			known = append(known, name)
		}
	}
	filter := seccomp.Filter{
		NoNewPrivs: true,
		Flag:       seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionErrno,
			Syscalls: []seccomp.SyscallGroup{
				{Names: known, Action: seccomp.ActionAllow},
				{NamesWithCondtions: newThread, Action: seccomp.ActionAllow},
				// The C library then tries clone.
				{Names: []string{"clone3"}, Action: seccomp.ActionErrno | seccomp.Action(unix.ENOSYS)},
			},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("limit system calls: %w", err)
	}
	return nil
}
