package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// endHolders kills every process that was started on the folder root and waits
// until it is gone: what a killed parent left behind, in the moment before the
// kernel ends it. The caller holds root's lock, so none of them is anybody's.
// Each has the folder as file descriptor 3, which tells it from a stranger that
// has its number.
func endHolders(ctx context.Context, root string) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		pids := holders(root)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if holds(pid, root) {
				_ = syscall.Kill(pid, syscall.SIGKILL) // fails where it has just ended
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a server of an earlier run (process %d) still works in %s: %w", pids[0], root, ctx.Err())
		}
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
