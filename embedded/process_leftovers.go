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

// endLeftovers ends every process that was started on the folder root and waits
// until it is gone: the server of a parent that was killed, still shutting down,
// or the processes of a server that was killed. The caller holds root's lock, so
// none of them is anybody's. Each has the folder as file descriptor 3, which
// tells it from a stranger that has its number. It is sent the signals in turn,
// and SIGKILL in the end.
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
			return fmt.Errorf("a server of an earlier run (process %d) still works in %s: %w", pids[0], root, ctx.Err())
		}
	}
}

func signalAll(pids []int, root string, signal syscall.Signal) {
	for _, pid := range pids {
		child, err := os.FindProcess(pid) // holds on to this very process where the kernel has pidfds
		if err != nil {
			continue
		}
		if holds(pid, root) {
			_ = child.Signal(signal) // fails where it has just ended
		}
		_ = child.Release()
	}
}

func holders(root string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc") // without /proc there is nothing to be known
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid != os.Getpid() && holds(pid, root) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// holds looks at every thread: the first one may have ended before the others,
// which then still have the files.
func holds(pid int, root string) bool {
	files, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "task", "*", "fd", "3")) // fails for a bad pattern only
	for _, file := range files {
		if held, err := os.Readlink(file); err == nil && held == root {
			return true
		}
	}
	return false
}
