package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// An incremental backup builds on an earlier one, which stays in the store as long as it is
// needed. Only backups by a schedule are incremental, and build on such: those that a user or the
// operator asks for are complete in themselves.
const (
	// maxIncrements is how many incremental backups follow one that is complete in itself.
	maxIncrements = 6
	// maxChainAge is how old that one may be.
	maxChainAge = 7 * 24 * time.Hour
	// maxChain is more than any chain has. One that is longer is damaged.
	maxChain = 100
	// baseAttempts is after how many attempts a backup is made without a base.
	baseAttempts = 3
)

// Chain returns a backup and those that it builds on, directly or not, the newest first. The error
// is ErrNotFound if the state lacks one of them.
func Chain(ctx context.Context, s *store.Store, db store.DBTX, b store.Backup) ([]store.Backup, error) {
	chain := []store.Backup{b}
	for id := b.BaseID; id != ""; {
		base, err := s.Backup(ctx, db, id)
		switch {
		case store.NotFound(err):
			return nil, fmt.Errorf("%w: backup %s builds on %s, which no longer exists", ErrNotFound, b.ID, id)
		case err != nil:
			return nil, fmt.Errorf("read the backups that backup %s builds on: %w", b.ID, err)
		case base.ResourceName != b.ResourceName || len(chain) == maxChain:
			return nil, damaged("backup %s builds on %s, which cannot be", b.ID, id)
		}
		chain, id = append(chain, base), base.BaseID
	}
	return chain, nil
}

// rawBytes is how much a chain's copies have together.
func rawBytes(chain []store.Backup) (sum int64) {
	for _, b := range chain {
		sum += b.RawBytes
	}
	return sum
}

// chooseBase returns the backup on which this one is to build; nil: it has to be complete.
func (w *work) chooseBase(ctx context.Context, i store.Instance) (*store.Backup, error) {
	if !w.driver.Increments || w.Backup.Origin != store.BySchedule || w.Copy.Attempts > baseAttempts {
		return nil, nil
	}
	all, err := w.runner.Store.BackupsOfResource(ctx, w.runner.Store.Pool, w.Backup.ResourceName)
	if err != nil {
		return nil, fmt.Errorf("look for a backup to build on: %w", err)
	}
	for _, b := range all {
		if b.State != store.BackupReady || b.Origin != store.BySchedule {
			continue
		}
		chain, err := Chain(ctx, w.runner.Store, w.runner.Store.Pool, b)
		if unusable(err) {
			return nil, nil
		}
		if err != nil || !canGrow(chain, i) {
			return nil, err
		}
		return &b, nil
	}
	return nil, nil
}

// canGrow reports whether another backup of the instance can build on a chain.
func canGrow(chain []store.Backup, i store.Instance) bool {
	for _, b := range chain {
		if b.Backend != i.Backend || b.Server != i.Server || b.BackendType != i.BackendType || b.VerifyError != "" {
			return false
		}
	}
	return len(chain) <= maxIncrements && time.Since(chain[len(chain)-1].CreatedAt) < maxChainAge
}

// unusable reports whether an error says that a backup cannot be read, now or later.
func unusable(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrKey)
}

// dropBase records that a backup cannot be read, so that no other one builds on it.
func (w *work) dropBase(ctx context.Context, base store.Backup, err error) error {
	w.runner.Logger.WarnContext(ctx, "a backup cannot be read; the next one is made without it",
		"copy_id", w.Copy.ID, "backup_id", base.ID, "instance_id", base.InstanceID, "error", w.loggable(err))
	return w.runner.Store.SetVerified(ctx, w.runner.Store.Pool, store.SetVerifiedParams{ID: base.ID, Error: printable(err.Error())})
}

// copyOf is a backup's copy as the backend reads it. before is how many bytes are read before.
func (w *work) copyOf(s Stored, key Key, before int64) services.BaseCopy {
	return services.BaseCopy{Contents: s.Contents, Read: func(ctx context.Context, read func(io.Reader) error) error {
		return w.runner.Archive.Read(ctx, key.Identity(), s, func(n int64) { w.raw.Store(before + n) }, func(_ context.Context, in io.Reader) error {
			return read(in)
		})
	}}
}
