package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"filippo.io/age"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// This file is about backups that their instance's server holds (services.BackupHolder). They have
// no object and no key, and their instance's own verb restores them.

// createHeld has the server make the backup. The row says before that the server holds it, so that
// the server is asked to delete it, whatever happens.
func (w *work) createHeld(ctx context.Context, instance store.Instance) error {
	s := w.runner.Store
	if err := s.SetBackupHeld(ctx, s.Pool, w.Backup.ID); err != nil {
		return fmt.Errorf("record that the server holds the backup: %w", err)
	}
	w.Backup.Held = true
	r := services.RawCreateBackup{Instance: operation.RawInstance(instance, w.plan), BackupID: w.Backup.ID}
	var made services.CreateBackupResult
	err := untilDone(ctx, giveUpAfter, func(ctx context.Context) (err error) {
		made, err = w.driver.CreateBackup(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	w.stored = Stored{Raw: int64(made.Size), Contents: services.Contents{Format: made.Format, Counts: map[string]int64{}}}
	if limit := w.limit(); limit > 0 && w.stored.Raw > limit {
		return ErrTooLarge
	}
	return nil
}

// discard deletes what a failed backup may have left.
func (w *work) discard(ctx context.Context) error {
	if w.Backup.Held {
		return w.runner.deleteHeld(ctx, w.Backup)
	}
	return w.runner.Archive.Delete(ctx, w.name())
}

// deleteHeld has the server delete a backup. It returns NotYet while the server does.
func (r *Runner) deleteHeld(ctx context.Context, b store.Backup) error {
	key := catalog.ServerKey(b.Backend, b.Server)
	driver, ok := r.Drivers[key]
	if !ok || driver.DeleteBackup == nil {
		return fmt.Errorf("server %q, which holds the backup, is not in the catalog", key)
	}
	ctx, cancel := context.WithTimeout(ctx, verbTime)
	defer cancel()
	_, err := driver.DeleteBackup(ctx, *operation.HeldBackup(b))
	return err
}

func isPending(err error) bool {
	_, ok := errors.AsType[*services.NotYetError](err)
	return ok
}

const (
	// sweepAfter is how old a backup is that a server holds and no row names before it is
	// deleted: after the state was restored from a dump, such backups may still be wanted.
	sweepAfter = 7 * 24 * time.Hour
	// sweepEvery is how often a replica looks for them.
	sweepEvery = 6 * time.Hour
)

// sweep deletes what servers hold that no row names: what a request made that arrived late.
func (r *Runner) sweep(ctx context.Context) error {
	if time.Now().Before(r.nextSweep) {
		return nil
	}
	r.nextSweep = time.Now().Add(r.SweepEvery)
	var errs []error
	for key, driver := range r.Drivers {
		if driver.ListBackups == nil {
			continue
		}
		if err := r.sweepServer(ctx, driver); err != nil {
			errs = append(errs, fmt.Errorf("delete what server %q holds and no backup needs: %w", key, err))
		}
	}
	return errors.Join(errs...)
}

func (r *Runner) sweepServer(ctx context.Context, driver *services.Driver) error {
	limited, cancel := context.WithTimeout(ctx, verbTime)
	defer cancel()
	list, err := driver.ListBackups(limited, services.None{})
	if err != nil {
		return err
	}
	old := map[string]services.HeldBackup{}
	var ids []string
	for _, b := range list {
		if !b.Created.IsZero() && time.Since(b.Created) > r.SweepAfter {
			old[b.ID] = b
			ids = append(ids, b.ID)
		}
	}
	known, err := r.Store.BackupIDs(ctx, r.Store.Pool, ids)
	if err != nil {
		return err
	}
	for _, id := range known {
		delete(old, id)
	}
	var errs []error
	for _, b := range old {
		limited, cancel := context.WithTimeout(ctx, verbTime)
		_, err := driver.DeleteBackup(limited, b)
		cancel()
		if err != nil && !isPending(err) { // the next round asks again, if necessary
			errs = append(errs, err)
			continue
		}
		r.Logger.InfoContext(ctx, "deleted a backup that only its server knew", "backup_id", b.ID, "resource", b.Instance)
	}
	return errors.Join(errs...)
}

// noArchive is the Archive of a broker whose catalog has no store of backups: servers hold them all.
type noArchive struct{}

var errNoArchive = errors.New("the catalog has no store of backups; add backups.store at its top")

func (noArchive) Ready(context.Context) error                 { return nil }
func (noArchive) Check(context.Context, Stored) error         { return errNoArchive }
func (noArchive) PutManifest(context.Context, Manifest) error { return errNoArchive }
func (noArchive) Delete(context.Context, string) error        { return nil }

func (noArchive) Write(context.Context, string, []age.Recipient, int64, func(int64), func(context.Context, io.Writer) (services.Contents, error)) (Stored, error) {
	return Stored{}, errNoArchive
}

func (noArchive) Read(context.Context, age.Identity, Stored, func(int64), func(context.Context, io.Reader) error) error {
	return errNoArchive
}
