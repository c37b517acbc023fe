package embedded

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// endLeftovers ends every PostgreSQL process that works below root and waits
// until it is gone: the server of a parent that was killed, still shutting down,
// or the sessions of a server that was killed. The caller holds root's lock, so
// none of them is anybody's. Each PostgreSQL process has its data folder as
// working directory, which tells it from a stranger that has its number.
func endLeftovers(ctx context.Context, root string) error {
	const patience = 5 * time.Second
	signals := []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL} // fast, immediate, at once
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last time.Time
	for {
		pids := postgresBelow(root)
		if len(pids) == 0 {
			return nil
		}
		if time.Since(last) >= patience {
			last = time.Now()
			signalAll(pids, root, signals[0])
			signals = append(signals[1:], syscall.SIGKILL)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("a database server of an earlier run (process %d) still works in %s: %w", pids[0], root, ctx.Err())
		}
	}
}

func signalAll(pids []int, root string, signal syscall.Signal) {
	for _, pid := range pids {
		child, err := os.FindProcess(pid) // holds on to this very process where the kernel has pidfds
		if err != nil {
			continue
		}
		if worksBelow(pid, root) {
			_ = child.Signal(signal) // fails where it has just ended
		}
		_ = child.Release()
	}
}

func postgresBelow(root string) []int {
	var pids []int
	entries, _ := os.ReadDir("/proc") // without /proc there is nothing to be known
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && worksBelow(pid, root) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func worksBelow(pid int, root string) bool {
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	folder, err := os.Readlink(filepath.Join(proc, "cwd"))
	if err != nil || !strings.HasPrefix(folder, root+"/") {
		return false
	}
	name, err := os.ReadFile(filepath.Join(proc, "comm"))
	return err == nil && strings.TrimSpace(string(name)) == "postgres"
}
