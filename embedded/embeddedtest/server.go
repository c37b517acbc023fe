package embeddedtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// folderPrefix begins the names of the servers' temporary folders.
const folderPrefix = "chandler-test-postgres-"

// server is a PostgreSQL server in a temporary folder, started once.
type server struct {
	mu       sync.Mutex
	asked    bool
	folder   string
	postgres *embedded.Postgres
	err      error
}

func (s *server) get() (*embedded.Postgres, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.asked {
		s.asked = true
		s.err = s.start()
	}
	return s.postgres, s.err
}

func (s *server) start() (err error) {
	sweep(os.TempDir())
	if s.folder, err = os.MkdirTemp("", folderPrefix); err != nil {
		return fmt.Errorf("make a folder for the test server: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s.postgres, err = embedded.StartPostgres(ctx, embedded.PostgresOptions{Dir: s.folder, NoSync: true})
	if err != nil {
		return errors.Join(fmt.Errorf("start the test server: %w", err), os.RemoveAll(s.folder))
	}
	return nil
}

func (s *server) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.postgres == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return errors.Join(s.postgres.Stop(ctx), os.RemoveAll(s.folder))
}

// sweep removes the folders of test processes that could not do so themselves:
// those that nobody holds the lock of. Young ones are let alone: their lock may
// be about to be taken.
func sweep(temp string) {
	folders, _ := filepath.Glob(filepath.Join(temp, folderPrefix+"*")) // fails for a bad pattern only
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
