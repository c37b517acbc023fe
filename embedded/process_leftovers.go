package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// endLeftovers ends every process that was started on the folder root, and waits until
// all are gone: a server whose parent was killed, or the processes of a server that was
// killed. The caller holds root's lock, so none of them belongs to anybody. Each has the
// folder as file descriptor 3; a process that reuses its number does not. They get the
// signals one after the other, and at last SIGKILL.
func endLeftovers(ctx context.Context, root string, signals []syscall.Signal) error {
	const patience = 5 * time.Second
	signals = append(slices.Clip(signals), syscall.SIGKILL)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last time.Time
	for sent := -1; ; {
		pids := holders(root)
		if len(pids) == 0 {
			return nil
		}
		if final := len(signals) - 1; sent == final || time.Since(last) >= patience {
			sent, last = min(sent+1, final), time.Now()
			signalAll(pids, root, signals[sent])
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a server of an earlier run (process %d) still runs in %s: %w", pids[0], root, ctx.Err())
		}
	}
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
