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
	return w.restoreInto(ctx, operation.RawInstance(instance, w.plan))
}

// restoreInto reads the whole object once before the backend sees any of it.
func (w *work) restoreInto(ctx context.Context, target services.RawInstance) error {
	if w.driver.Restore == nil {
		return services.Rejected("backups cannot be restored to instances of plan %q", w.plan.Name)
	}
	stored, err := storedOf(w.Backup)
	if err != nil {
		return err
	}
	key, err := LoadKey(ctx, w.runner.Credentials, w.Backup.ResourceName)
	if err != nil {
		return err
	}
	if err := w.runner.Archive.Check(ctx, stored); err != nil {
		return fmt.Errorf("check the backup before it is restored: %w", err)
	}
	return w.runner.Archive.Read(ctx, key.Identity(), stored, w.raw.Store, func(ctx context.Context, in io.Reader) error {
		w.dirty = true
		_, err := w.driver.Restore(ctx, services.RawRestore{Instance: target, Contents: stored.Contents, Reader: in})
		return err
	})
}

// storedOf is what the state knows of a backup's object.
func storedOf(b store.Backup) (Stored, error) {
	s := Stored{Object: b.Object, Raw: b.RawBytes, Stored: b.StoredBytes, SHA256: b.Sha256}
	if err := json.Unmarshal(b.Contents, &s.Contents); err != nil {
		return s, fmt.Errorf("decode the contents of backup %s: %w", b.ID, err)
	}
	return s, nil
}
