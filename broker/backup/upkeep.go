package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
)

// upkeep expires and deletes backups, and begins those that are due by a schedule. Every replica
// does so: one that is killed would hold up the others.
func (r *Runner) upkeep(ctx context.Context) {
	tick := time.NewTicker(r.Every)
	defer tick.Stop()
	for {
		if err := r.upkeepOnce(ctx); err != nil && ctx.Err() == nil {
			r.Logger.WarnContext(ctx, "a part of the upkeep of backups failed; the next round tries again", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *Runner) upkeepOnce(ctx context.Context) error {
	return errors.Join(r.expire(ctx), r.deleteMarked(ctx), r.beginScheduled(ctx), r.sweep(ctx))
}

// batch is how many rows one round deals with.
const batch = 100

// expire marks the backups of deleted instances whose time is over.
func (r *Runner) expire(ctx context.Context) error {
	_, err := r.Store.MarkBackupsExpired(ctx, r.Store.Pool, batch)
	return err
}

const (
	// restTime is how long nothing is deleted after the store failed.
	restTime = 30 * time.Second
	// serverRestTime is the same for a server that holds backups.
	serverRestTime = 10 * time.Second
)

// deleteTime is how long the deletion of a backup from the store may take. Meanwhile its instance cannot
// be deleted.
const deleteTime = 20 * time.Second

// deleteMarked deletes the backups that are marked. A store or server that fails does not hold up
// the others.
func (r *Runner) deleteMarked(ctx context.Context) error {
	held, err := r.Store.DeletingHeldBackups(ctx, r.Store.Pool, store.DeletingHeldBackupsParams{Backends: r.backends(), Batch: batch})
	errs := []error{err}
	for _, b := range held {
		key := catalog.ServerKey(b.Backend, b.Server)
		if time.Now().Before(r.restingServers[key]) {
			continue
		}
		if err := r.deleteBackup(ctx, b.ID); err != nil {
			r.restingServers[key] = time.Now().Add(serverRestTime)
			errs = append(errs, fmt.Errorf("delete backup %s, which server %q holds: %w", b.ID, key, err))
		}
	}
	return errors.Join(append(errs, r.deleteStored(ctx))...)
}

// backends are those that this replica can call.
func (r *Runner) backends() []string {
	var names []string
	for _, s := range r.Catalog.Servers() {
		names = append(names, s.Backend)
	}
	return names
}

// deleteStored deletes marked backups from the store.
func (r *Runner) deleteStored(ctx context.Context) error {
	if time.Now().Before(r.resting) {
		return nil
	}
	rows, err := r.Store.DeletingBackups(ctx, r.Store.Pool, batch)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if err := r.deleteBackup(ctx, row.ID); err != nil {
			r.resting = time.Now().Add(restTime)
			return fmt.Errorf("delete backup %s: %w", row.ID, err)
		}
	}
	return nil
}

// deleteBackup deletes a marked backup's objects and row, and its instance's key with the last
// one. It leaves a backup that another replica works on to a later round.
func (r *Runner) deleteBackup(ctx context.Context, id string) error {
	return r.Store.InTx(ctx, func(tx *store.Tx) error {
		b, err := r.Store.Backup(ctx, tx, id)
		if store.NotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		// The second lock keeps a copy of the instance from being encrypted to a key that
		// is just deleted.
		for _, lock := range []func() (bool, error){
			func() (bool, error) { return r.Store.LockBackup(ctx, tx, id) },
			func() (bool, error) { return r.Store.LockCopying(ctx, tx, b.ResourceName) },
		} {
			if ok, err := lock(); err != nil || !ok {
				return err
			}
		}
		// Under the second lock no other one begins to build on it.
		if building, err := r.Store.BackupsOn(ctx, tx, id); err != nil || len(building) > 0 {
			return err
		}
		err = store.HoldLocks(ctx, tx, func(ctx context.Context) error {
			if b.Held {
				return r.deleteHeld(ctx, b)
			}
			ctx, cancel := context.WithTimeout(ctx, deleteTime)
			defer cancel()
			return r.Archive.Delete(ctx, Name(b.ResourceName, id))
		})
		if isPending(err) {
			return nil // a later round goes on
		}
		if err != nil {
			return err
		}
		// Not counted before: the store may have taken long, in which the locks got lost and the
		// instance got a backup with this key. With lost locks the query fails.
		n, err := r.Store.CountBackupsOfResource(ctx, tx, b.ResourceName)
		if err != nil {
			return err
		}
		if n <= 1 && !b.Held {
			err := store.HoldLocks(ctx, tx, func(ctx context.Context) error { return DeleteKey(ctx, r.Credentials, b.ResourceName) })
			if err != nil {
				return err
			}
		}
		if err := r.Store.DeleteBackup(ctx, tx, id); err != nil {
			return err
		}
		return Audit(ctx, r.Store, tx, b, store.ActionDeleteBackup, store.EventSucceeded, nil)
	})
}

// follow does what follows a new backup of an instance: it marks those that the plan no longer
// keeps, and has the new one verified if none was for long.
func (r *Runner) follow(ctx context.Context, tx *store.Tx, b store.Backup, plan *catalog.Plan) error {
	if plan.Backups == nil || b.Origin == store.ForClone {
		return nil
	}
	all, err := r.Store.BackupsOfResource(ctx, tx, b.ResourceName)
	if err != nil {
		return err
	}
	gone := obsolete(all, plan.Backups)
	if err := r.Store.MarkBackupsDeleting(ctx, tx, gone); err != nil {
		return err
	}
	// One of those that stay has to be verified.
	all = slices.DeleteFunc(all, func(b store.Backup) bool { return slices.Contains(gone, b.ID) })
	if plan.Backups.Verify == 0 || verifiedSince(all, time.Now().Add(-plan.Backups.Verify)) {
		return nil
	}
	return InsertVerification(ctx, r.Store, tx, b)
}

func verifiedSince(all []store.Backup, since time.Time) bool {
	for _, b := range all {
		if b.VerifiedAt != nil && b.VerifiedAt.After(since) {
			return true
		}
	}
	return false
}

// InsertVerification inserts the copy that verifies a backup.
func InsertVerification(ctx context.Context, s *store.Store, tx *store.Tx, b store.Backup) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	chain, err := Chain(ctx, s, tx, b)
	if err != nil {
		return err
	}
	err = s.InsertCopy(ctx, tx, store.InsertCopyParams{
		ID: id.String(), Kind: store.CopyVerify, BackupID: b.ID, ResourceName: ScratchName(b.ID),
		Server: catalog.ServerKey(b.Backend, b.Server), State: store.CopyWaiting, TotalBytes: rawBytes(chain),
	})
	if err != nil {
		return fmt.Errorf("record the verification: %w", err)
	}
	return operation.NotifyCopy(ctx, s, tx, id.String())
}
