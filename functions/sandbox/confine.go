package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"

	"golang.org/x/sys/unix"
)

// confine takes from this process what running code does not need, so that a
// hole in the sandbox gives an attacker little. It returns how many files the
// process may have open. What it takes is gone for good.
func confine(s settings) (files int, err error) {
	unix.Umask(0o007) // modes are chosen by who makes a file, but never for everybody
	// The machine's last memory is for others: the kernel ends workers first.
	// This comes before the next, after which the file is not ours.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0); err != nil {
		return 0, fmt.Errorf("be the first to end when memory is out: %w", err)
	}
	// No core dumps and no debugger: the memory holds parameters of actions.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("no core dumps: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return 0, fmt.Errorf("no core dumps: %w", err)
	}
	if s.Compiler {
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

// confineCompiler bounds what a compilation may take: a module can be made to
// be hard to compile.
func confineCompiler(s settings) error {
	debug.SetMemoryLimit(s.Memory / 2) // collect garbage before the limit is hit
	memory := uint64(s.Memory)         //nolint:gosec // positive
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

// lowerPriority lets calls come before compilations. Linux keeps a priority a
// thread; new threads take that of the one that makes them.
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
		// The system call returns 20 less the niceness (getpriority(2)). A
		// runtime that was started at a low priority may not raise it.
		if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-now >= compilerNiceness {
			continue
		}
		err = unix.Setpriority(unix.PRIO_PROCESS, id, compilerNiceness)
		if err != nil && !errors.Is(err, unix.ESRCH) { // it may have ended by now
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
