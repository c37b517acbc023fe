package sandbox

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// machineMemory is how much memory this process's machine has, or its control
// group where that has a lower limit, in bytes.
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

// resident is how much memory this process holds, in bytes.
func resident() (int64, error) { return residentIn("/proc/self/statm") }

// residentIn reads a file of the form of /proc/PID/statm.
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
