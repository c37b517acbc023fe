package operation

import (
	"context"
	"errors"
	"time"

	"github.com/chandler-broker/chandler/broker/store"
)

// sweepExpired begins to revoke the bindings whose lifetime is over.
func (e *Engine) sweepExpired(ctx context.Context) error {
	due, err := e.Store.ExpiredBindings(ctx, e.Store.Pool, time.Now())
	if err != nil {
		return err
	}
	return begin(ctx, e, due, func(tx *store.Tx, row store.ExpiredBindingsRow) error {
		return e.expire(ctx, tx, row.InstanceID, row.ID)
	})
}

// begin accepts an operation for each row. It leaves what is busy to a later round, or to
// another replica. An error of one row does not delay the others.
func begin[T any](ctx context.Context, e *Engine, rows []T, accept func(*store.Tx, T) error) error {
	var errs []error
	for _, row := range rows {
		err := e.Store.InTx(ctx, func(tx *store.Tx) error { return accept(tx, row) })
		if !IsBusy(err) && !store.NotFound(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// expire accepts a binding's end if it is still due. It locks in the same order
// as requests.
func (e *Engine) expire(ctx context.Context, tx *store.Tx, instanceID, bindingID string) error {
	i, err := e.Store.InstanceForShare(ctx, tx, instanceID)
	if err != nil {
		return err
	}
	b, err := e.Store.BindingForUpdate(ctx, tx, bindingID)
	if err != nil {
		return err
	}
	if b.InstanceID != instanceID || !b.IsExpired(time.Now()) || b.Status != store.Ready && b.Status != store.DeleteFailed {
		return nil
	}
	active, err := e.Store.UnfinishedOperations(ctx, tx, instanceID)
	if err != nil || store.On(active, bindingID) != nil {
		return err
	}
	if op := store.On(active, ""); op != nil && !op.OnlyBacksUp() {
		return nil
	}
	_, err = e.Accept(ctx, tx, i, Request{Kind: store.Expire, BindingID: bindingID})
	return err
}

// sweepRetained begins to delete the instances whose retention has ended.
func (e *Engine) sweepRetained(ctx context.Context) error {
	due, err := e.Store.RetainedInstancesDue(ctx, e.Store.Pool)
	if err != nil {
		return err
	}
	return begin(ctx, e, due, func(tx *store.Tx, id string) error { return e.deleteRetained(ctx, tx, id) })
}

func (e *Engine) deleteRetained(ctx context.Context, tx *store.Tx, id string) error {
	i, err := e.Store.InstanceForUpdate(ctx, tx, id)
	if err != nil {
		return err
	}
	if i.RetainedUntil == nil || i.RetainedUntil.After(time.Now()) {
		return nil // restored meanwhile
	}
	_, err = e.Accept(ctx, tx, i, Request{Kind: store.Deprovision})
	return err
}
