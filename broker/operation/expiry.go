package operation

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/chandler-broker/chandler/broker/store"
)

// sweepExpired begins to revoke the bindings whose lifetime is over.
func (e *Engine) sweepExpired(ctx context.Context) error {
	due, err := e.Store.ExpiredBindings(ctx, e.Store.Pool, time.Now())
	if err != nil {
		return err
	}
	var errs []error // one that cannot be begun must not keep the others
	for _, row := range due {
		errs = append(errs, e.begin(ctx, func(tx pgx.Tx) error { return e.expire(ctx, tx, row.InstanceID, row.ID) }))
	}
	return errors.Join(errs...)
}

// begin leaves to another round, or another replica, what is busy.
func (e *Engine) begin(ctx context.Context, accept func(pgx.Tx) error) error {
	err := e.Store.InTx(ctx, accept)
	if IsBusy(err) || store.NotFound(err) {
		return nil
	}
	return err
}

// expire accepts a binding's end in the same order of locks as a request would,
// if it is still to be.
func (e *Engine) expire(ctx context.Context, tx pgx.Tx, instanceID, bindingID string) error {
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
	unfinished, err := e.Store.UnfinishedOperations(ctx, tx, instanceID)
	if err != nil {
		return err
	}
	for _, op := range unfinished {
		if op.BindingID == "" || op.BindingID == bindingID {
			return nil
		}
	}
	_, err = e.Accept(ctx, tx, Request{
		Kind: store.Expire, Platform: b.Platform, InstanceID: instanceID, BindingID: bindingID, ServiceID: i.ServiceID, PlanID: i.PlanID, Server: i.Server,
	})
	return err
}

// sweepRetained begins to delete the instances that were kept for long enough.
func (e *Engine) sweepRetained(ctx context.Context) error {
	due, err := e.Store.RetainedInstancesDue(ctx, e.Store.Pool)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range due {
		errs = append(errs, e.begin(ctx, func(tx pgx.Tx) error { return e.deleteRetained(ctx, tx, id) }))
	}
	return errors.Join(errs...)
}

func (e *Engine) deleteRetained(ctx context.Context, tx pgx.Tx, id string) error {
	i, err := e.Store.InstanceForUpdate(ctx, tx, id)
	if err != nil {
		return err
	}
	if i.RetainedUntil == nil || i.RetainedUntil.After(time.Now()) {
		return nil // restored meanwhile
	}
	_, err = e.Accept(ctx, tx, Request{
		Kind: store.Deprovision, Platform: i.Platform, InstanceID: id, ServiceID: i.ServiceID, PlanID: i.PlanID, Server: i.Server,
	})
	return err
}
