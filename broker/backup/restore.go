package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// restore restores the backup into an instance that its operation has just provisioned.
func (w *work) restore(ctx context.Context) error {
	instance, err := w.instance(ctx)
	if err != nil {
		return err
	}
	if w.Backup.Held {
		return nil // by the provision
	}
	_, err = w.restoreInto(ctx, operation.RawInstance(instance, w.plan))
	return err
}

// restoreInto reads the whole object, and those of the backups that it builds on, once before the
// backend sees any of it.
func (w *work) restoreInto(ctx context.Context, target services.RawInstance) (result services.RestoreResult, err error) {
	if w.driver.Restore == nil {
		return result, services.Rejected("backups cannot be restored to instances of plan %q", w.plan.Name)
	}
	chain, err := Chain(ctx, w.runner.Store, w.runner.Store.Pool, w.Backup)
	if err != nil {
		return result, err
	}
	key, err := LoadKey(ctx, w.runner.Credentials, w.Backup.ResourceName)
	if err != nil {
		return result, err
	}
	copies := make([]services.BaseCopy, len(chain))
	for i, b := range chain {
		stored, err := storedOf(b)
		if err != nil {
			return result, err
		}
		if err := w.runner.Archive.Check(ctx, stored); err != nil {
			return result, fmt.Errorf("check backup %s before it is restored: %w", b.ID, err)
		}
		copies[i] = w.copyOf(stored, key, rawBytes(chain[:i]))
	}
	err = copies[0].Read(ctx, func(in io.Reader) (err error) {
		w.dirty = true
		result, err = w.driver.Restore(ctx, services.RawRestore{Instance: target, Contents: copies[0].Contents, Reader: in, Bases: copies[1:]})
		return err
	})
	return result, err
}

// storedOf is what the state knows of a backup's object.
func storedOf(b store.Backup) (Stored, error) {
	s := Stored{Object: b.Object, Raw: b.RawBytes, Stored: b.StoredBytes, SHA256: b.Sha256}
	if err := json.Unmarshal(b.Contents, &s.Contents); err != nil {
		return s, fmt.Errorf("decode the contents of backup %s: %w", b.ID, err)
	}
	return s, nil
}
