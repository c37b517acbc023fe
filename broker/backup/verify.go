package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/services"
)

// ScratchName is the safe name of the instance to which a backup is restored to verify it.
func ScratchName(backupID string) string { return services.InstanceName(scratchID(backupID)) }

func scratchID(backupID string) string { return "verification of backup " + backupID }

const (
	// verbTime is how long a call of a backend's verb may take.
	verbTime = 30 * time.Second
	// scratchTime is how long a server may take to make or remove a scratch instance.
	scratchTime = time.Hour
)

// verify restores the backup to a scratch instance, copies that to nowhere and compares the
// contents. Of a backup that the server holds, the scratch instance has to become ready. Whatever happens, the scratch instance is removed, here or in the next attempt.
func (w *work) verify(ctx context.Context) (err error) {
	b := w.Backup
	if err := w.open(b.ServiceID, b.PlanID, b.Backend, b.BackendType, b.Server); err != nil {
		return err
	}
	if !w.Backup.Held && (w.driver.Restore == nil || w.driver.Backup == nil) {
		return services.Rejected("instances of plan %q cannot be backed up", w.plan.Name)
	}
	scratch := services.RawInstance{ID: scratchID(b.ID), Plan: w.plan.Config, Params: b.Parameters}
	if w.Copy.Attempts > 1 { // an interrupted attempt may have left it
		if err := w.remove(ctx, scratch); err != nil {
			return err
		}
	}
	err = w.provision(ctx, scratch)
	if _, rejected := services.IsRejected(err); rejected {
		// Parameters may name what only one instance can have, such as a zone.
		scratch.Params = nil
		err = w.provision(ctx, scratch)
	}
	if err == nil && !w.Backup.Held {
		err = w.compare(ctx, scratch)
	}
	if ctx.Err() != nil {
		return err // the next attempt removes it
	}
	if removed := w.remove(ctx, scratch); removed != nil {
		// Not final, even if the rest is: nobody would remove it.
		return fmt.Errorf("remove the scratch instance: %w", notFinal{errors.Join(removed, err)})
	}
	return err
}

// notFinal hides that an error was built by Rejected.
type notFinal struct{ err error }

func (n notFinal) Error() string { return n.err.Error() }

func (w *work) compare(ctx context.Context, scratch services.RawInstance) error {
	restored, err := w.restoreInto(ctx, scratch)
	if err != nil {
		return err
	}
	got, err := w.driver.Backup(ctx, services.RawBackup{Instance: scratch, Writer: io.Discard})
	if err != nil {
		return fmt.Errorf("copy the scratch instance: %w", err)
	}
	want, err := storedOf(w.Backup)
	if err != nil {
		return err
	}
	digest := cmp.Or(want.Contents.Digest, restored.Digest)
	if got.Format != want.Contents.Format || got.Digest != digest || !maps.Equal(got.Counts, want.Contents.Counts) {
		return services.Rejected("the restored backup differs from what was copied: %s %q %v instead of %s %q %v",
			got.Format, got.Digest, got.Counts, want.Contents.Format, digest, want.Contents.Counts)
	}
	return nil
}

func (w *work) provision(ctx context.Context, scratch services.RawInstance) error {
	return untilDone(ctx, scratchTime, func(ctx context.Context) error {
		_, err := w.driver.Provision(ctx, services.RawProvision{Instance: scratch, RestoreFrom: operation.HeldBackup(w.Backup)})
		return err
	})
}

func (w *work) remove(ctx context.Context, scratch services.RawInstance) error {
	return untilDone(ctx, scratchTime, func(ctx context.Context) error {
		_, err := w.driver.Deprovision(ctx, services.RawDeprovision{Instance: scratch})
		return err
	})
}

// untilDone repeats a verb while the backend returns NotYet.
func untilDone(ctx context.Context, limit time.Duration, verb func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		limited, stop := context.WithTimeout(ctx, verbTime)
		err := verb(limited)
		stop()
		pending, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not done in time: %w", err)
		case <-time.After(max(pending.After, 100*time.Millisecond)):
		}
	}
}
