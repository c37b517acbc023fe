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

// rabbitPrefix begins the names of RabbitMQ's temporary folders.
const rabbitPrefix = "chandler-test-rabbitmq-"

// sharedRabbit is this test process's RabbitMQ server, for the reason that
// shared is a variable of the package too.
var sharedRabbit rabbit

// rabbit is a RabbitMQ server in a temporary folder, started once.
type rabbit struct {
	mu     sync.Mutex
	asked  bool
	folder string
	server *embedded.RabbitMQ
	err    error
}

// RabbitMQ returns this test process's RabbitMQ server, which takes some seconds
// to start. Where RabbitMQ is not installed the test is skipped, and fails when
// CI=true. The package's TestMain has to call RunWithRabbitMQ.
func RabbitMQ(t testing.TB) *embedded.RabbitMQ {
	t.Helper()
	server, err := sharedRabbit.get()
	if errors.Is(err, embedded.ErrNoRabbitMQ) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// RabbitMQOn starts a RabbitMQ server for t alone on a folder of its own, on a
// Disk for instance. Tests may restart and kill it. Otherwise it is as RabbitMQ.
func RabbitMQOn(t testing.TB, dir string) *embedded.RabbitMQ {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := embedded.StartRabbitMQ(ctx, embedded.RabbitMQOptions{Dir: dir})
	if errors.Is(err, embedded.ErrNoRabbitMQ) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Kill() // nobody wants its data, and a polite end takes seconds
		if err := server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return server
}

// RunWithRabbitMQ runs a package's tests, ends the server that they used and
// removes its folder:
//
//	func TestMain(m *testing.M) { os.Exit(embeddedtest.RunWithRabbitMQ(m)) }
func RunWithRabbitMQ(m *testing.M) (code int) {
	code = m.Run()
	if err := sharedRabbit.end(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	return code
}

func (r *rabbit) get() (*embedded.RabbitMQ, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.asked {
		r.asked = true
		r.err = r.start()
	}
	return r.server, r.err
}

func (r *rabbit) start() (err error) {
	sweepRabbits(os.TempDir())
	if r.folder, err = os.MkdirTemp("", rabbitPrefix); err != nil {
		return fmt.Errorf("make a folder for the test server: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	r.server, err = embedded.StartRabbitMQ(ctx, embedded.RabbitMQOptions{Dir: r.folder})
	if err != nil {
		return errors.Join(fmt.Errorf("start the test server: %w", err), os.RemoveAll(r.folder))
	}
	return nil
}

// end kills the server: nobody wants its data, and a polite end takes seconds.
func (r *rabbit) end() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.server == nil {
		return nil
	}
	r.server.Kill()
	return errors.Join(r.server.Stop(context.Background()), os.RemoveAll(r.folder))
}

// sweepRabbits removes the folders of test processes that were killed: those
// that nobody holds the lock of. Young ones are let alone: their lock may be
// about to be taken.
func sweepRabbits(temp string) {
	folders, _ := filepath.Glob(filepath.Join(temp, rabbitPrefix+"*")) // fails for a bad pattern only
	for _, folder := range folders {
		if info, err := os.Stat(folder); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_RDWR, 0)
		if err != nil {
			continue // another user's
		}
		if syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(folder) // what stays is swept by the next
		}
		_ = lock.Close()
	}
}
