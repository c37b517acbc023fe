package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// deleteSecrets deletes the binding's secrets concurrently: each is a round trip to the
// credential store.
func (e *Engine) deleteSecrets(ctx context.Context, b store.Binding, mounts bool) error {
	secrets := map[string]credhub.Path{
		"credentials": credhub.CredentialsPath(b.InstanceID, b.ID),
		"seed":        credhub.SeedPath(b.InstanceID, b.ID),
	}
	if mounts {
		secrets["volume mounts"] = credhub.VolumeMountsPath(b.InstanceID, b.ID)
	}
	return concurrently(secrets, func(what string, path credhub.Path) error {
		if err := e.Credentials.Delete(ctx, path); err != nil {
			return fmt.Errorf("delete the %s: %w", what, err)
		}
		return nil
	})
}

// concurrently calls do with each element at once, and returns when all calls have ended.
func concurrently[T any](all map[string]T, do func(what string, one T) error) error {
	ended := make(chan error, len(all))
	for what, one := range all {
		go func() { ended <- do(what, one) }()
	}
	var errs []error
	for range all {
		errs = append(errs, <-ended)
	}
	return errors.Join(errs...)
}

// redeleteSecrets deletes the secrets of ended bindings a second time: a write that a
// replica had sent when it was killed may have reached the credential store after their
// deletion. Every replica does so: a replica that is killed would hold up a single job for
// minutes.
func (e *Engine) redeleteSecrets(ctx context.Context) {
	for sleep(ctx, e.ReconcileEvery) {
		failed, err := e.redeleteDue(ctx, time.Now().Add(-e.RedeleteAfter))
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "secrets of ended bindings could not be deleted a second time; the next round tries again",
				"bindings", failed, "error", err.Error())
		}
	}
}

// redeleteDue deletes what was first deleted before then. What fails is left to the next
// round.
func (e *Engine) redeleteDue(ctx context.Context, before time.Time) (failed int, last error) {
	const batch = 200
	next := store.SecretDeletionsParams{Before: before, Batch: batch}
	for {
		rows, err := e.Store.SecretDeletions(ctx, e.Store.Pool, next)
		if err != nil {
			return failed, fmt.Errorf("read the ended bindings: %w", err)
		}
		for _, row := range rows {
			if ctx.Err() != nil {
				return failed, last
			}
			if err := e.Store.InTx(ctx, func(tx *store.Tx) error { return e.redelete(ctx, tx, row) }); err != nil {
				failed, last = failed+1, err
			}
		}
		if len(rows) < batch {
			return failed, last
		}
		end := rows[len(rows)-1]
		next.At, next.InstanceID, next.BindingID = end.At, end.InstanceID, end.BindingID
	}
}

// redelete does nothing if another replica does so, or if a newer binding of the same ID may
// need the secrets. The lock keeps such a binding from being made meanwhile.
func (e *Engine) redelete(ctx context.Context, tx *store.Tx, row store.SecretDeletion) error {
	if locked, err := e.lock(ctx, tx, job{InstanceID: row.InstanceID, BindingID: row.BindingID}); err != nil || !locked {
		return err
	}
	claimed, err := e.Store.ClaimSecretDeletion(ctx, tx, store.ClaimSecretDeletionParams{InstanceID: row.InstanceID, BindingID: row.BindingID, At: row.At})
	if err != nil || claimed == 0 {
		return err
	}
	ended := store.Binding{
		ID: row.BindingID, InstanceID: row.InstanceID, AppID: row.AppID,
		BindResource: row.BindResource, Context: row.Context, Delivery: row.Delivery,
	}
	live, err := e.Store.Binding(ctx, tx, row.BindingID)
	if err != nil && !store.NotFound(err) {
		return err
	}
	exists, sameInstance := err == nil, live.InstanceID == ended.InstanceID
	if exists && sameInstance && !unchangedSince(live, row) {
		return nil
	}
	return store.HoldLocks(ctx, tx, func(ctx context.Context) error {
		errs := []error{e.deleteSecrets(ctx, ended, true)}
		// The delivery may no longer be in the catalog, or have the same place as
		// another instance's binding.
		if _, isSetUp := e.Deliveries[ended.Delivery]; isSetUp && (!exists || sameInstance) {
			errs = append(errs, e.withdraw(ctx, ended))
		}
		return errors.Join(errs...)
	})
}

// unchangedSince reports whether the binding has not been made again since its secrets were
// deleted.
func unchangedSince(b store.Binding, row store.SecretDeletion) bool {
	return (b.Status == store.CreateFailed || b.Status == store.Expired) && b.CreatedAt.Before(row.At)
}
