// Package sandboxtest gives tests the program that a sandbox's workers run.
package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var (
	built  = sync.OnceValues(build)
	folder string
)

// Worker returns the command of a worker, for sandbox.Options. It is a program of
// its own, without the race detector, under which compiling one module takes a
// minute; the sandbox's own tests run workers with it.
func Worker(t testing.TB) []string {
	t.Helper()
	program, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return []string{program}
}

func build() (program string, err error) {
	if folder, err = os.MkdirTemp("", "chandler-test-worker-"); err != nil {
		return "", err
	}
	program = filepath.Join(folder, "worker")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, //nolint:noctx // no test's own
		"github.com/chandler-broker/chandler/functions/sandbox/sandboxtest/worker")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the worker: %w\n%s", err, out)
	}
	return program, nil
}

// Remove removes what Worker built, at the end of a package's tests.
func Remove() error {
	if folder == "" {
		return nil
	}
	return os.RemoveAll(folder)
}
