package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
)

// record records what became of an attempt.
func (w *work) record(ctx context.Context, tx *store.Tx, err error) error {
	v := w.judge(ctx, err)
	attrs := []any{
		"copy_id", w.Copy.ID, "kind", w.Copy.Kind, "backup_id", w.Backup.ID, "instance_id", w.Backup.InstanceID,
		"attempts", w.Copy.Attempts, "bytes", w.raw.Load(), "duration_ms", time.Since(w.began).Milliseconds(),
	}
	if v.err != nil {
		attrs = append(attrs, "error", w.loggable(v.err))
	}
	if v.state == store.CopyWaiting || v.state == store.CopyUnclean {
		w.runner.Logger.WarnContext(ctx, "copy will be tried again", attrs...)
		return w.retry(ctx, v)
	}
	if v.state == store.CopyFailed && w.Copy.Kind == store.CopyBackup {
		// No object may be left without a manifest, and nothing on the server.
		if err := w.discard(ctx); err != nil {
			v.state = store.CopyWaiting
			return w.retry(ctx, v)
		}
	}
	if err := w.finish(ctx, tx, v); err != nil {
		return err
	}
	log := w.runner.Logger.InfoContext
	if v.err != nil {
		log = w.runner.Logger.WarnContext
	}
	log(ctx, "copy ended", append(attrs, "outcome", v.state)...)
	if w.runner.OnFinished != nil {
		w.runner.OnFinished(Finished{w.Copy, w.Backup, v.state, time.Since(w.began), w.raw.Load()})
	}
	w.runner.Changed("") // the next one may begin
	return nil
}

func (w *work) retry(ctx context.Context, v verdict) error {
	_, err := w.runner.Store.RetryCopy(ctx, w.runner.Store.Pool, store.RetryCopyParams{
		ID: w.Copy.ID, State: v.state, Wait: wait(w.Copy.Attempts, time.Since(w.Copy.CreatedAt)).Seconds(), Description: printable(v.description), LastError: printable(v.err.Error()),
	})
	return err
}

// finish ends the copy, its backup and the audit record together. It fails with an error that
// IsStale if the copy was cancelled at this moment.
func (w *work) finish(ctx context.Context, tx *store.Tx, v verdict) error {
	s := w.runner.Store
	end := store.FinishCopyParams{ID: w.Copy.ID, State: v.state, Description: printable(v.description), DoneBytes: w.raw.Load()}
	event := store.EventSucceeded
	if v.err != nil {
		end.LastError, event = printable(v.err.Error()), store.EventFailed
	}
	if err := s.FinishCopy(ctx, tx, end); err != nil {
		return err
	}
	if err := w.applyTo(ctx, tx, v); err != nil {
		return err
	}
	actions := map[store.CopyKind]store.Action{
		store.CopyBackup: store.ActionBackup, store.CopyRestore: store.ActionRestoreData, store.CopyVerify: store.ActionVerify,
	}
	b := w.Backup
	if w.Copy.Kind == store.CopyRestore {
		b.InstanceID = w.Copy.InstanceID
	}
	if err := Audit(ctx, s, tx, b, actions[w.Copy.Kind], event, nil); err != nil {
		return err
	}
	return tx.Commit(ctx)
}

// Audit writes an audit record about a backup. originating is nil unless somebody asked for the
// action.
func Audit(ctx context.Context, s *store.Store, db store.DBTX, b store.Backup, action store.Action, event store.Event, originating json.RawMessage) error {
	err := s.InsertAudit(ctx, db, store.InsertAuditParams{
		Platform: b.Platform, Originating: originating, Action: action, Event: event, InstanceID: b.InstanceID, ServiceID: b.ServiceID, PlanID: b.PlanID, Resource: b.ID,
	})
	if err != nil {
		return fmt.Errorf("write the audit record: %w", err)
	}
	return nil
}

// applyTo changes the backup's row at the copy's end.
func (w *work) applyTo(ctx context.Context, tx *store.Tx, v verdict) error {
	s := w.runner.Store
	switch w.Copy.Kind {
	case store.CopyBackup:
		if v.err != nil {
			return s.FailBackup(ctx, tx, store.FailBackupParams{ID: w.Backup.ID, Description: printable(v.description), LastError: printable(v.err.Error())})
		}
		return w.ready(ctx, tx)
	case store.CopyRestore:
		if v.err == nil && w.Backup.Origin == store.ForClone {
			return s.MarkBackupsDeleting(ctx, tx, []string{w.Backup.ID})
		}
	case store.CopyVerify:
		p := store.SetVerifiedParams{ID: w.Backup.ID}
		if v.err != nil {
			p.Error = printable(v.err.Error())
		}
		return s.SetVerified(ctx, tx, p)
	}
	return nil
}

// ready makes the backup usable.
func (w *work) ready(ctx context.Context, tx *store.Tx) error {
	contents, err := json.Marshal(w.stored.Contents)
	if err != nil {
		return fmt.Errorf("encode the contents: %w", err)
	}
	n, err := w.runner.Store.FinishBackup(ctx, tx, store.FinishBackupParams{
		ID: w.Backup.ID, Object: w.stored.Object, Contents: contents, RawBytes: w.stored.Raw, StoredBytes: w.stored.Stored, Sha256: w.stored.SHA256, BaseID: w.baseID,
	})
	if err == nil && n == 0 {
		return errors.New("its backup was deleted meanwhile, or the one that it builds on")
	}
	if err != nil {
		return err
	}
	return w.runner.follow(ctx, tx, w.Backup, w.plan)
}

// maxText is how much of a backend's message is recorded.
const maxText = 4096

// printable makes a message valid for PostgreSQL, which refuses NUL and invalid UTF-8.
func printable(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}
