package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// deleteSecrets deletes the binding's secrets side by side: each of them is a round
// trip to the credential store, and none means anything any more.
func (e *Engine) deleteSecrets(ctx context.Context, b store.Binding, mounts bool) error {
	secrets := map[string]credhub.Path{
		"credentials": credhub.CredentialsPath(b.InstanceID, b.ID),
		"seed":        credhub.SeedPath(b.InstanceID, b.ID),
	}
	if mounts {
		secrets["volume mounts"] = credhub.VolumeMountsPath(b.InstanceID, b.ID)
	}
	return sideBySide(secrets, func(what string, path credhub.Path) error {
		if err := e.Credentials.Delete(ctx, path); err != nil {
			return fmt.Errorf("delete the %s: %w", what, err)
		}
		return nil
	})
}

// sideBySide calls do with each of all at once, and returns when all have ended.
func sideBySide[T any](all map[string]T, do func(what string, one T) error) error {
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

// redeleteSecrets deletes the secrets of bindings that ended once more: what a replica
// had sent to the credential store when it was killed may have arrived after they
// were deleted. Every replica does it: a job of which there is one at a time would
// be held up for minutes by a replica that is killed during it.
func (e *Engine) redeleteSecrets(ctx context.Context) {
	tick := time.NewTicker(e.ReconcileEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		failed, err := e.redeleteDue(ctx, time.Now().Add(-e.RedeleteAfter))
		if err != nil && ctx.Err() == nil {
			e.Logger.WarnContext(ctx, "secrets of bindings that ended could not be deleted once more; the next round tries again",
				"bindings", failed, "error", err.Error())
		}
	}
}

// redeleteDue goes through what was deleted before then. What fails stays for the
// next round.
func (e *Engine) redeleteDue(ctx context.Context, before time.Time) (failed int, last error) {
	const batch = 200
	next := store.SecretDeletionsParams{Before: before, Batch: batch}
	for {
		rows, err := e.Store.SecretDeletions(ctx, e.Store.Pool, next)
		if err != nil {
			return failed, fmt.Errorf("read which they are: %w", err)
		}
		for _, row := range rows {
			if ctx.Err() != nil {
				return failed, last
			}
			if err := e.Store.InTx(ctx, func(tx pgx.Tx) error { return e.redelete(ctx, tx, row) }); err != nil {
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

// redelete leaves alone what another replica sees to, and what a binding that
// was made under the same ID since may need; the lock keeps one from beginning
// meanwhile.
func (e *Engine) redelete(ctx context.Context, tx pgx.Tx, row store.SecretDeletion) error {
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
		// What was delivered may have the same place as another binding's, or be of
		// a way that was taken from the catalog since.
		if _, isSetUp := e.Deliveries[ended.Delivery]; isSetUp && (!exists || sameInstance) {
			errs = append(errs, e.withdraw(ctx, ended))
		}
		return errors.Join(errs...)
	})
}

// unchangedSince says whether the binding is what it was when its secrets were
// deleted: it has not been made anew since.
func unchangedSince(b store.Binding, row store.SecretDeletion) bool {
	return (b.Status == store.CreateFailed || b.Status == store.Expired) && b.CreatedAt.Before(row.At)
}
