package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// This file is about operations that wait for a copy: package backup works on that for as long
// as it takes, while the operation's steps only look at it. The instance's own verbs stay with
// the operation, so that at no time two replicas call the backend for one instance.

// provisionCopy provisions an instance, and waits until a backup is restored into it. If a
// restore fails half-way, provisionCopy makes the instance anew.
func (e *Engine) provisionCopy(ctx context.Context, op store.Operation, s *subject, inst services.RawInstance) error {
	row, err := e.Store.CopyAndBackup(ctx, e.Store.Pool, op.CopyID)
	if err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	c, b := row.Copy, row.Backup
	switch c.State {
	case store.CopyHeld, store.CopyUnclean:
		if wait, err := e.awaitSource(ctx, b); wait || err != nil {
			return err
		}
		if c.State == store.CopyUnclean {
			if err := e.awaitNoCopy(ctx, SafeName(s.instance)); err != nil {
				return err
			}
			if err := e.deprovision(ctx, s.driver, inst); err != nil {
				return err
			}
			// A provision that takes several steps must not begin anew with each.
			if err := e.Store.CleanCopy(ctx, e.Store.Pool, c.ID); err != nil {
				return fmt.Errorf("record that the instance is removed: %w", err)
			}
		}
		if err := e.provisionFrom(ctx, s, inst, HeldBackup(b)); err != nil {
			return restoring(err, b)
		}
		if err := e.release(ctx, c.ID); err != nil {
			return err
		}
		return pending(c, "restores the backup")
	default:
		return pending(c, "restores the backup")
	}
}

// HeldBackup is a backup as the server knows it that holds it; nil: it is in the store.
func HeldBackup(b store.Backup) *services.HeldBackup {
	if !b.Held {
		return nil
	}
	return &services.HeldBackup{Instance: b.ResourceName, ID: b.ID}
}

// restoring tells the user of a provision that restores what it waits for.
func restoring(err error, b store.Backup) error {
	if n, ok := errors.AsType[*services.NotYetError](err); ok && b.Held {
		return services.NotYet(n.After, "restores the backup: "+n.Note)
	}
	return err
}

// awaitSource returns NotYet while the backup for a clone is being made.
func (e *Engine) awaitSource(ctx context.Context, b store.Backup) (wait bool, err error) {
	if b.State == store.BackupReady {
		return false, nil
	}
	if b.State == store.BackupDeleting {
		return true, services.Rejected("the copy of the instance to clone was removed: create the clone again")
	}
	c, err := e.Store.CopyOfBackup(ctx, e.Store.Pool, b.ID)
	if err != nil {
		return true, fmt.Errorf("read the copy of the instance to clone: %w", err)
	}
	if err := pending(c, "copies the instance to clone"); err != nil {
		return true, err
	}
	return true, services.NotYet(pollCopy(0), "copies the instance to clone") // it has just ended
}

func (e *Engine) release(ctx context.Context, copyID string) error {
	return e.Store.InTx(ctx, func(tx *store.Tx) error {
		if _, err := e.Store.ReleaseCopy(ctx, tx, copyID); err != nil {
			return err
		}
		return NotifyCopy(ctx, e.Store, tx, copyID)
	})
}

// awaitBackup is the step of an update that only makes a backup. Undoing it cancels the backup.
func (e *Engine) awaitBackup(ctx context.Context, op store.Operation) error {
	if op.Phase == store.PhaseUndo {
		return e.cancelCopy(ctx, op.CopyID)
	}
	c, err := e.Store.Copy(ctx, e.Store.Pool, op.CopyID)
	if err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	return pending(c, "makes the backup")
}

// pending returns nil if the copy has succeeded, NotYet with its progress while it has not
// ended, and an error for the user if it failed.
func pending(c store.Copy, doing string) error {
	switch c.State {
	case store.CopySucceeded:
		return nil
	case store.CopyFailed, store.CopyCancelled:
		return services.Rejected("%s", c.Description)
	case store.CopyHeld, store.CopyWaiting, store.CopyRunning, store.CopyUnclean:
	}
	return services.NotYet(pollCopy(time.Since(c.CreatedAt)), DescribeCopy(c, doing))
}

// pollCopy is how long an operation waits until it looks at its copy again: often at the
// beginning, because most copies are small.
func pollCopy(age time.Duration) time.Duration {
	return min(max(age/10, 100*time.Millisecond), 2*time.Second)
}

// DescribeCopy says for the user how far a copy is; doing is such as "makes the backup".
func DescribeCopy(c store.Copy, doing string) string {
	switch {
	case c.Description != "":
		return doing + ": " + c.Description
	case c.State == store.CopyRunning && c.TotalBytes > 0:
		return fmt.Sprintf("%s: %s of %s", doing, amount(c.DoneBytes), amount(c.TotalBytes))
	case c.State == store.CopyRunning && c.DoneBytes == 0: // also when the server makes it, and does not tell
		return doing
	case c.State == store.CopyRunning:
		return fmt.Sprintf("%s: %s so far", doing, amount(c.DoneBytes))
	}
	return doing + ": waits for its turn"
}

// amount is a number of bytes for people.
func amount(bytes int64) string {
	switch {
	case bytes < 1e3:
		return fmt.Sprintf("%d B", bytes)
	case bytes < 1e6:
		return fmt.Sprintf("%d kB", bytes/1e3)
	case bytes < 1e9:
		return fmt.Sprintf("%d MB", bytes/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

// undoProvision cancels the copies of the instance before it removes it.
func (e *Engine) undoProvision(ctx context.Context, op store.Operation, s *subject, inst services.RawInstance) error {
	if op.CopyID != "" {
		if err := e.cancelSource(ctx, op.CopyID); err != nil {
			return err
		}
		if err := e.stopCopies(ctx, s); err != nil {
			return err
		}
	}
	return e.deprovision(ctx, s.driver, inst)
}

// cancelSource cancels the backup that was to be made for a clone.
func (e *Engine) cancelSource(ctx context.Context, copyID string) error {
	row, err := e.Store.CopyAndBackup(ctx, e.Store.Pool, copyID)
	if err != nil || row.Backup.Origin != store.ForClone {
		return err
	}
	return e.Store.InTx(ctx, func(tx *store.Tx) error {
		making, err := e.Store.CopyOfBackup(ctx, tx, row.Backup.ID)
		if err != nil {
			return err
		}
		return errors.Join(
			e.cancelInTx(ctx, tx, making.ID, "cancelled: the clone is no longer wanted"),
			e.Store.MarkBackupsDeleting(ctx, tx, []string{row.Backup.ID}))
	})
}

// stopCopies cancels all copies of the subject's instance, and returns NotYet until nobody works
// on one any more.
func (e *Engine) stopCopies(ctx context.Context, s *subject) error {
	if s.plan.Backups == nil {
		return nil // it is neither copied nor cloned
	}
	resource := SafeName(s.instance)
	if err := e.Store.InTx(ctx, func(tx *store.Tx) error { return e.cancelCopies(ctx, tx, resource) }); err != nil {
		return err
	}
	return e.awaitNoCopy(ctx, resource)
}

// cancelCopies cancels all copies of a resource.
func (e *Engine) cancelCopies(ctx context.Context, tx *store.Tx, resource string) error {
	ids, err := e.Store.CancelCopiesOfResource(ctx, tx, resource)
	if err == nil && len(ids) > 0 {
		err = e.Store.DeleteUnmadeBackups(ctx, tx, ids)
	}
	for _, id := range ids {
		err = errors.Join(err, NotifyCopy(ctx, e.Store, tx, id))
	}
	if err != nil {
		return fmt.Errorf("cancel the copies of the instance: %w", err)
	}
	return nil
}

// CancelCopies cancels all copies of an instance, because it is recovered.
func (e *Engine) CancelCopies(ctx context.Context, tx *store.Tx, i store.Instance) error {
	return e.cancelCopies(ctx, tx, SafeName(i))
}

// ForgetBackups cancels the copies of an instance that the operator forgets, and sets the end of
// its backups as a deletion does.
func (e *Engine) ForgetBackups(ctx context.Context, tx *store.Tx, i store.Instance) error {
	plan, _ := e.plan(i.ServiceID, i.PlanID) // it may no longer be in the catalog
	return errors.Join(e.cancelCopies(ctx, tx, SafeName(i)), e.expireBackups(ctx, tx, plan, i))
}

func (e *Engine) cancelCopy(ctx context.Context, id string) error {
	err := e.Store.InTx(ctx, func(tx *store.Tx) error {
		return e.cancelInTx(ctx, tx, id, "cancelled: its operation was")
	})
	if err != nil {
		return fmt.Errorf("cancel the copy: %w", err)
	}
	return nil
}

func (e *Engine) cancelInTx(ctx context.Context, tx *store.Tx, id, why string) error {
	n, err := e.Store.CancelCopy(ctx, tx, store.CancelCopyParams{ID: id, Description: why})
	if err != nil || n == 0 {
		return err
	}
	if err := e.Store.DeleteUnmadeBackups(ctx, tx, []string{id}); err != nil {
		return err
	}
	return NotifyCopy(ctx, e.Store, tx, id)
}

// awaitNoCopy returns NotYet while somebody works on a copy of the resource. None can begin: all
// are cancelled, and a copy begins under this lock.
func (e *Engine) awaitNoCopy(ctx context.Context, resource string) error {
	idle := false
	err := e.Store.InTx(ctx, func(tx *store.Tx) (err error) {
		idle, err = e.Store.LockCopying(ctx, tx, resource)
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for the copy's end: %w", err)
	}
	if !idle {
		return services.NotYet(200*time.Millisecond, "waits until a copy of its data has stopped")
	}
	return nil
}

// ScheduleText is what the next time of an instance's backups was computed from.
func ScheduleText(b *catalog.PlanBackups) string { return b.Schedule + " " + b.TimeZone }

// schedule records when the first backup of an instance is due on a plan.
func (e *Engine) schedule(ctx context.Context, db store.DBTX, i store.Instance, planID string) error {
	plan, err := e.plan(i.ServiceID, planID)
	if err != nil || plan.Backups == nil || !plan.Backups.Scheduled() {
		return err // the next round drops that of another plan
	}
	return e.Store.SetSchedule(ctx, db, store.SetScheduleParams{
		InstanceID: i.ID, Schedule: ScheduleText(plan.Backups), NextAt: plan.Backups.Next(time.Now(), SafeName(i)),
	})
}

// keepWithoutPlan is how long the backups of a deleted instance stay whose plan no longer says.
const keepWithoutPlan = 30 * 24 * time.Hour

// expireBackups sets the end of a deleted instance's backups.
func (e *Engine) expireBackups(ctx context.Context, db store.DBTX, p *catalog.Plan, i store.Instance) error {
	after := keepWithoutPlan
	if p != nil && p.Backups != nil {
		after = p.Backups.AfterDelete
	}
	return e.Store.ExpireBackupsOfResource(ctx, db, store.ExpireBackupsOfResourceParams{ResourceName: SafeName(i), After: after.Seconds()})
}
