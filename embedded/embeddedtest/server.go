// Package embeddedtest gives tests real servers: some that all tests of a process share, and
// others for one test.
package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

const timeout = 3 * time.Minute

// The shared servers are variables of the package because all tests of a test process use
// them, and nothing passes them around.
var (
	sharedPostgres = shared[*embedded.Postgres]{prefix: "chandler-test-postgres-", start: embedded.StartPostgres}
	sharedRabbitMQ = shared[*embedded.RabbitMQ]{prefix: "chandler-test-rabbitmq-", start: embedded.StartRabbitMQ, kill: true}
)

// Postgres returns this test process's PostgreSQL server. If PostgreSQL is not installed, it
// skips t, or fails it with CI=true.
func Postgres(t testing.TB) *embedded.Postgres {
	t.Helper()
	return sharedPostgres.get(t)
}

// RabbitMQ is Postgres for a RabbitMQ server, which takes some seconds to start.
func RabbitMQ(t testing.TB) *embedded.RabbitMQ {
	t.Helper()
	return sharedRabbitMQ.get(t)
}

// Main runs a package's tests, stops the shared servers that they used, removes the servers'
// folders, and then calls the functions after:
//
//	func TestMain(m *testing.M) { embeddedtest.Main(m) }
//
// Without it the servers still end with the process, and the next test process that starts
// one removes the folders.
func Main(m *testing.M, after ...func() error) {
	code := m.Run()
	for _, end := range append([]func() error{sharedPostgres.stop, sharedRabbitMQ.stop, sharedOpenStack.stop}, after...) {
		if err := end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// shared is a server in a temporary folder, which starts when the first test asks for it.
type shared[S embedded.Process] struct {
	prefix string // of the folder's name
	start  func(context.Context, embedded.Options) (S, error)
	kill   bool // at the end: an orderly one would take seconds

	once    sync.Once
	folder  string
	server  S
	err     error
	started bool
}

func (s *shared[S]) get(t testing.TB) S {
	t.Helper()
	s.once.Do(func() { s.err = s.open() })
	require(t, s.err)
	return s.server
}

func (s *shared[S]) open() (err error) {
	sweep(os.TempDir(), s.prefix)
	if s.folder, err = os.MkdirTemp("", s.prefix); err != nil {
		return fmt.Errorf("make a folder for the test server: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if s.server, err = s.start(ctx, embedded.Options{Dir: s.folder, NoSync: true}); err != nil {
		return errors.Join(fmt.Errorf("start the test server: %w", err), os.RemoveAll(s.folder))
	}
	s.started = true
	return nil
}

func (s *shared[S]) stop() error {
	if !s.started {
		return nil
	}
	if s.kill {
		s.server.Kill()
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return errors.Join(s.server.Stop(ctx), os.RemoveAll(s.folder))
}

// sweep removes the folders of killed test processes: those whose lock nobody holds. It
// leaves young ones, because their lock may be about to be taken.
func sweep(temp, prefix string) {
	folders, _ := filepath.Glob(filepath.Join(temp, prefix+"*")) // fails only for a bad pattern
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder) // the next sweep removes the rest
		}
		_ = lock.Close()
	}
}
