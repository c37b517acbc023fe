package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
	"golang.org/x/sys/unix"
)

// small is what a call may grow to even when the worker's memory is used up.
const small = 32 << 20

// budget is the memory that a worker's calls share. It is safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves more bytes for a call that then has total.
func (b *budget) take(more, total int64) bool {
	if b.used.Add(more) > b.limit && total > small {
		b.used.Add(-more)
		return false
	}
	return true
}

// guestMemory allocates the linear memory of one call's instance, outside Go's heap, so
// that the machine has it back as soon as the call ends. It implements
// experimental.MemoryAllocator, and is one goroutine's.
type guestMemory struct {
	ctx    context.Context // the call's
	limit  int64
	budget *budget

	exhausted bool // the call asked for more than its limit
	crowded   bool // the calls together used up the worker's memory
}

// Allocate takes addresses, and no memory yet.
func (g *guestMemory) Allocate(_, _ uint64) experimental.LinearMemory {
	space, err := unix.Mmap(-1, 0, int(g.limit), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		space = nil
	}
	return &linearMemory{owner: g, space: space}
}

// linearMemory implements experimental.LinearMemory.
type linearMemory struct {
	owner *guestMemory
	space []byte // all that the guest might ever have
	size  int64
}

// Reallocate is also called by metered code that wants no memory, to learn whether its
// time is over; see meter.go.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if m.size > 0 && m.owner.ctx.Err() != nil {
		panic(sys.NewExitError(sys.ExitCodeDeadlineExceeded)) // ends the guest; wazero recovers it
	}
	if size >= safepointBytes {
		return nil
	}
	if size > uint64(len(m.space)) {
		m.owner.exhausted = true
		return nil
	}
	more := int64(size) - m.size                    //nolint:gosec // at most len(space)
	taken := m.owner.budget.take(more, int64(size)) //nolint:gosec // at most len(space)
	if taken && unix.Mprotect(m.space[:size], unix.PROT_READ|unix.PROT_WRITE) == nil {
		m.size += more
		return m.space[:size:size]
	}
	if taken {
		m.owner.budget.used.Add(-more)
	}
	m.owner.crowded = true
	return nil
}

func (m *linearMemory) Free() {
	if m.space == nil {
		return
	}
	_ = unix.Munmap(m.space) // fails only for what is not mapped
	m.owner.budget.used.Add(-m.size)
	m.space, m.size = nil, 0
}

// machineMemory is the memory of the machine, or the limit of this process's control
// group if that is lower, in bytes.
func machineMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("sysinfo: %w", err)
	}
	total := int64(info.Totalram) * int64(info.Unit) //nolint:gosec // far below 2^63
	if limit, ok := groupMemory(); ok && limit < total {
		total = limit
	}
	return total, nil
}

// groupMemory is the lowest memory.max on the way from the root of the control
// groups, version 2, to this process's.
func groupMemory() (lowest int64, found bool) {
	own, err := os.ReadFile("/proc/self/cgroup")
	path, ok := strings.CutPrefix(strings.TrimSpace(string(own)), "0::")
	if err != nil || !ok {
		return 0, false
	}
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		content, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", path, "memory.max")) //nolint:gosec // the kernel names the group
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(string(bytes.TrimSpace(content)), 10, 64)
		if err == nil && (!found || limit < lowest) { // "max" is no limit
			lowest, found = limit, true
		}
	}
	return lowest, found
}

// residentIn is how much memory a process holds, in bytes, by its /proc/PID/statm.
func residentIn(path string) (int64, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var size, pages int64
	if _, err := fmt.Sscan(string(content), &size, &pages); err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return pages * int64(os.Getpagesize()), nil
}
