package sandbox

import (
	"fmt"
	"runtime"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

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
