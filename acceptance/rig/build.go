// Package rig sets up the acceptance suite and the benchmarks: the real binary, real servers, proxies
// that fail on demand, and a search for secrets in everything that was written.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/chandler-broker/chandler/embedded"
)

// Build builds the chandler of this checkout into dir, and returns its path. The flags are those of a
// release, so that all builds share the compiler's cache. race adds the race detector, which reports
// in the process's output.
func Build(ctx context.Context, dir string, race bool) (string, error) {
	binary := filepath.Join(dir, "chandler")
	flag, environment := "-trimpath", "CGO_ENABLED=0"
	if race {
		binary += "-race"
		flag, environment = "-race", "CGO_ENABLED=1"
	}
	root, err := output(ctx, "", "go", "list", "-m", "-f", "{{.Dir}}", "github.com/chandler-broker/chandler")
	if err != nil {
		return "", err
	}
	// In its own module, because this one selects other versions of its dependencies.
	if _, err := output(ctx, root, "env", environment, "go", "build", flag, "-o", binary, "./cmd/chandler"); err != nil {
		return "", err
	}
	return binary, os.Chmod(binary, 0o755) //nolint:gosec // another user runs it, too
}

// PlaceFunctions puts the program of the function runtime into dir, for a 'chandler dev' there.
func PlaceFunctions(ctx context.Context, dir string, log io.Writer) error {
	program, err := embedded.BuildFunctions(ctx, log)
	if err != nil {
		return err
	}
	content, err := os.Open(program)
	if err != nil {
		return err
	}
	defer content.Close()
	return embedded.WriteProgram(filepath.Join(dir, "chandler-functions"), content)
}

// ErrNoHistory says that the sources have no history from which to build an earlier release.
var ErrNoHistory = errors.New("the sources have no history")

// BuildRelease builds the chandler of an earlier commit into dir, and returns its path and that of the
// commit's sources. If the checkout is an archive or shallow, the error wraps ErrNoHistory.
func BuildRelease(ctx context.Context, dir, commit string) (binary, sources string, err error) {
	top, err := output(ctx, "", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNoHistory, err)
	}
	if _, err := output(ctx, top, "git", "cat-file", "-e", commit+"^{commit}"); err != nil {
		if shallow, _ := output(ctx, top, "git", "rev-parse", "--is-shallow-repository"); shallow == "true" {
			return "", "", fmt.Errorf("%w: the clone is shallow", ErrNoHistory)
		}
		return "", "", fmt.Errorf("find commit %s: %w", commit, err)
	}
	archive := filepath.Join(dir, "release.tar")
	if _, err := output(ctx, top, "git", "archive", "--output", archive, commit); err != nil {
		return "", "", err
	}
	sources = filepath.Join(dir, "release")
	if err := os.Mkdir(sources, 0o700); err != nil {
		return "", "", err
	}
	if _, err := output(ctx, sources, "tar", "-xf", archive); err != nil {
		return "", "", err
	}
	binary = filepath.Join(dir, "chandler-release")
	if _, err := output(ctx, sources, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./cmd/chandler"); err != nil {
		return "", "", err
	}
	return binary, sources, nil
}

// output runs a program in a folder, and returns its output.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, bytes.TrimSpace(stderr.Bytes()))
	}
	return string(bytes.TrimSpace(out)), nil
}
