package bench_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cpu is the processor time that a process has used, in steps of 10 ms (proc(5):
// fields 14 and 15 of stat, in clock ticks).
func cpu(b *testing.B, pid int) time.Duration {
	b.Helper()
	return ticks(b, pid, 2)
}

// cpuWithChildren adds that of children that have ended (fields 16 and 17).
func cpuWithChildren(b *testing.B, pid int) time.Duration {
	b.Helper()
	return ticks(b, pid, 4)
}

func ticks(b *testing.B, pid, fields int) time.Duration {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	check(b, err)
	all := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, field := range all[11 : 11+fields] {
		n, err := strconv.ParseInt(field, 10, 64)
		check(b, err)
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memory reads a line of a process's status in megabytes: VmRSS, or VmHWM for
// the most it ever had.
func memory(b *testing.B, pid int, line string) float64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	check(b, err)
	_, rest, found := strings.Cut(string(text), line+":")
	if !found {
		b.Fatalf("no %s of process %d", line, pid)
	}
	var kilobytes float64
	_, err = fmt.Sscan(rest, &kilobytes)
	check(b, err)
	return kilobytes / 1024
}
