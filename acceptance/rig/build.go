// Package rig sets up what the acceptance suite and the benchmarks run against:
// the real binary, real servers, proxies that fail on demand, and a search for
// secrets in everything that was left behind.
package rig

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Build builds the chandler of this checkout into dir and returns its path. race
// builds it with the race detector, whose reports are in the process's output.
func Build(ctx context.Context, dir string, race bool) (string, error) {
	binary := filepath.Join(dir, "chandler")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "github.com/chandler-broker/chandler/cmd/chandler")...)
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build chandler: %w\n%s", err, bytes.TrimSpace(out))
	}
	return binary, os.Chmod(binary, 0o755) //nolint:gosec // another user runs it too
}
