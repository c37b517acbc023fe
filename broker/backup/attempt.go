package backup

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/broker/loggable"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/services"
)

// work is an attempt of a copy.
type work struct {
	store.CopyAndBackupRow
	runner *Runner
	plan   *catalog.Plan
	driver *services.Driver
	began  time.Time
	raw    atomic.Int64 // bytes copied so far
	cancel context.CancelCauseFunc
	// dirty says that the backend was told to restore.
	dirty bool
	// stored is what a backup has stored, and baseID the backup that it builds on, if any.
	stored Stored
	baseID string
}

// errCancelled is the cause of an attempt's end if its copy was cancelled.
var errCancelled = errors.New("the copy was cancelled")

// giveUpAfter is how long a copy is tried again. A backup by a schedule then fails, so that the
// next one begins.
const giveUpAfter = 24 * time.Hour

// attempt works on a copy while tx holds its locks, and records the result in tx: a replica that
// has lost its locks records nothing. Until then tx neither reads nor writes a table: it may be open
// for hours, and must keep neither the server from cleaning up nor the next release from migrating.
func (r *Runner) attempt(ctx context.Context, tx *store.Tx, row store.CopyAndBackupRow) {
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &work{CopyAndBackupRow: row, runner: r, began: time.Now(), cancel: cancel}
	if _, taken := r.running.LoadOrStore(row.Copy.ID, w); taken {
		return
	}
	defer r.running.Delete(row.Copy.ID)
	n, err := r.Store.StartCopy(ctx, r.Store.Pool, row.Copy.ID)
	if err != nil || n == 0 {
		return // cancelled at this moment, or the state does not answer: the next round sees
	}
	w.Copy.Attempts++
	lost := store.HoldLocksAndWatch(ctx, tx, func(ctx context.Context) error {
		err = w.run(ctx)
		return nil
	}, func(ctx context.Context) error { return w.watch(ctx, tx) })
	switch {
	case lost != nil:
		r.Logger.WarnContext(ctx, "a copy lost its lock; it begins anew", "copy_id", w.Copy.ID, "error", lost.Error())
		return
	case errors.Is(context.Cause(ctx), errCancelled):
		return // what it has stored is deleted with its backup
	}
	// The result counts even if the process is about to end.
	limited, stop := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer stop()
	if ctx.Err() != nil {
		err = r.putBack(limited, w)
	} else {
		err = w.record(limited, tx, err)
	}
	if err != nil && !store.IsStale(err) {
		r.Logger.WarnContext(ctx, "the end of a copy could not be recorded; it begins anew", "copy_id", w.Copy.ID, "error", err.Error())
	}
}

// recordTime is how long the recording of a result may take.
const recordTime = 10 * time.Second

// putBack leaves an interrupted copy to other replicas.
func (r *Runner) putBack(ctx context.Context, w *work) error {
	_, err := r.Store.RetryCopy(ctx, r.Store.Pool, store.RetryCopyParams{ID: w.Copy.ID, State: w.again(), Description: "begins anew after an interruption"})
	return err
}

// again is the state from which the copy goes on after an attempt that failed.
func (w *work) again() store.CopyState {
	if w.dirty && w.Copy.Kind == store.CopyRestore {
		return store.CopyUnclean
	}
	return store.CopyWaiting
}

// watch keeps tx alive, records the progress, and ends the attempt if its copy was cancelled.
func (w *work) watch(ctx context.Context, tx *store.Tx) error {
	if _, err := tx.Exec(ctx, "select 1"); err != nil {
		return err
	}
	s := w.runner.Store
	c, err := s.Copy(ctx, s.Pool, w.Copy.ID)
	if store.NotFound(err) || err == nil && c.Finished() {
		w.cancel(errCancelled)
		return nil
	}
	// The progress only informs.
	_ = s.RecordProgress(ctx, s.Pool, store.RecordProgressParams{ID: w.Copy.ID, DoneBytes: w.raw.Load()})
	return nil
}

// look reads the copy at once. The notification of its cancellation may get lost; watch looks too.
func (w *work) look() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), recordTime)
		defer cancel()
		if c, err := w.runner.Store.Copy(ctx, w.runner.Store.Pool, w.Copy.ID); err == nil && c.Finished() {
			w.cancel(errCancelled)
		}
	}()
}

// run does the work. It may be called any number of times.
func (w *work) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &services.PanicError{Type: fmt.Sprintf("%T", p), Stack: string(debug.Stack())}
		}
		if p, ok := errors.AsType[*services.PanicError](err); ok {
			w.runner.Logger.ErrorContext(ctx, "backend panicked", "copy_id", w.Copy.ID, "panic_type", p.Type, "stack", p.Stack)
			err = errors.New("the backend panicked; the log has the stack")
		}
	}()
	switch w.Copy.Kind {
	case store.CopyBackup:
		return w.backUp(ctx)
	case store.CopyRestore:
		return w.restore(ctx)
	case store.CopyVerify:
		return w.verify(ctx)
	}
	return fmt.Errorf("unknown kind of copy %q", w.Copy.Kind)
}

// open finds the plan and the driver. It fails if another backend made the instance than the
// catalog says.
func (w *work) open(serviceID, planID, backend, backendType, server string) error {
	var ok bool
	if w.plan, ok = w.runner.Catalog.Plan(serviceID, planID); !ok {
		return fmt.Errorf("plan %q of service %q is no longer in the catalog", planID, serviceID)
	}
	if err := w.plan.CheckBackend(backend, backendType); err != nil {
		return err
	}
	key := catalog.ServerKey(w.plan.Backend, server)
	if w.driver, ok = w.runner.Drivers[key]; !ok {
		return fmt.Errorf("server %q is not open", key)
	}
	return nil
}

// verdict is what becomes of a copy after an attempt.
type verdict struct {
	state       store.CopyState // waiting, unclean or an end
	description string          // for the user
	err         error
}

// judge decides whether an attempt's error is final.
func (w *work) judge(ctx context.Context, err error) verdict {
	message, rejected := services.IsRejected(err)
	switch {
	case err == nil:
		return verdict{state: store.CopySucceeded}
	case rejected:
		return verdict{store.CopyFailed, message, err}
	case errors.Is(err, ErrTooLarge):
		return verdict{store.CopyFailed, "the instance has more data than the plan allows for a backup; delete what is not needed, or ask your operator", err}
	case errors.Is(err, ErrDamaged), errors.Is(err, ErrNotFound), errors.Is(err, ErrKey):
		return verdict{store.CopyFailed, fmt.Sprintf("backup %s is damaged and was not restored; choose another one, and tell your operator", w.Backup.ID), err}
	case time.Since(w.Copy.CreatedAt) > giveUpAfter:
		return verdict{store.CopyFailed, "not done in time; ask your operator and quote backup " + w.Backup.ID, err}
	}
	return verdict{w.again(), w.reason(ctx, err), err}
}

// readyTime is how long a server may take to answer whether it is ready.
const readyTime = 2 * time.Second

// reason says why an attempt failed, as far as its user may know.
func (w *work) reason(ctx context.Context, err error) string {
	if services.IsOutOfCapacity(err) {
		return "there is no space left; ask your operator"
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if w.runner.Archive.Ready(ctx) != nil {
		return "waits for the store of backups"
	}
	if w.driver != nil && w.driver.CheckReady(ctx) != nil {
		return fmt.Sprintf("server %q does not answer", w.Copy.Server)
	}
	return fmt.Sprintf("attempt %d failed; ask your operator and quote backup %s", w.Copy.Attempts, w.Backup.ID)
}

// loggable masks the values of parameters in an error's text.
func (w *work) loggable(err error) string { return loggable.Text(err.Error(), w.Backup.Parameters) }

// wait is how long a copy of an age waits after so many attempts: at most half its age, because
// attempts that were interrupted count too, and say nothing about how long a failure lasts.
func wait(attempts int32, age time.Duration) time.Duration {
	return min(500*time.Millisecond<<min(attempts, 20), max(age/2, time.Second), 10*time.Minute)
}
