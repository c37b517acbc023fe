package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/broker/operation"
	"github.com/chandler-broker/chandler/broker/store"
	"github.com/chandler-broker/chandler/credhub"
)

// forgetTime is longer than an attempt under way may take: it notices within seconds
// that its operation was preempted, or ends by its own limit.
const forgetTime = 40 * time.Second

// Forget removes an instance, its bindings and their credentials from the broker, without
// a call to the backend: resources on the server become orphans. It preempts operations in
// progress.
func (o *Operator) Forget(ctx context.Context, by Actor, instanceID string) error {
	return o.forget(ctx, by, forgotten{instanceID: instanceID})
}

// ForgetBinding removes a binding and its credentials in the same way. Its instance and
// the instance's other bindings stay.
func (o *Operator) ForgetBinding(ctx context.Context, by Actor, bindingID string) error {
	b, err := o.Store.Binding(ctx, o.Store.Pool, bindingID)
	if err != nil {
		return found(err, "binding", bindingID)
	}
	return o.forget(ctx, by, forgotten{b.InstanceID, bindingID})
}

// forgotten is an instance with its bindings or, if bindingID is set, one binding.
type forgotten struct{ instanceID, bindingID string }

func (f forgotten) String() string {
	if f.bindingID != "" {
		return fmt.Sprintf("binding %q", f.bindingID)
	}
	return fmt.Sprintf("instance %q", f.instanceID)
}

func (f forgotten) has(bindingID string) bool { return f.bindingID == "" || f.bindingID == bindingID }

// forget preempts the operations in progress, waits until no replica works on them, and
// then removes secrets and rows.
func (o *Operator) forget(ctx context.Context, by Actor, f forgotten) error {
	if err := o.preempt(ctx, f); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, forgetTime)
	defer cancel()
	for {
		done, err := o.forgetIdle(limited, by, f)
		if err != nil || done {
			return err
		}
		select {
		case <-limited.Done():
			return fmt.Errorf("a replica is still working on %s; try again", f)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (o *Operator) preempt(ctx context.Context, f forgotten) error {
	return o.Store.InTx(ctx, func(tx *store.Tx) error {
		if _, err := o.Store.InstanceForUpdate(ctx, tx, f.instanceID); err != nil {
			return found(err, "instance", f.instanceID)
		}
		unfinished, err := o.Store.UnfinishedOperations(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		for _, op := range unfinished {
			switch {
			case f.has(op.BindingID):
				if err := o.Engine.Preempt(ctx, tx, op); err != nil {
					return err
				}
			case op.BindingID == "":
				return fmt.Errorf("operation %s (%s) is in progress on the binding's instance; forget the binding when it has ended", op.ID, op.Kind)
			}
		}
		return nil
	})
}

// forgetIdle does nothing while a replica holds the lock.
func (o *Operator) forgetIdle(ctx context.Context, by Actor, f forgotten) (done bool, err error) {
	err = o.Store.InTx(ctx, func(tx *store.Tx) error {
		if done, err = o.lock(ctx, tx, f); err != nil || !done {
			return err
		}
		i, err := o.Store.InstanceForUpdate(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		bindings, err := o.Store.BindingsOfInstance(ctx, tx, f.instanceID)
		if err != nil {
			return err
		}
		if err := store.HoldLocks(ctx, tx, func(ctx context.Context) error { return o.forgetSecrets(ctx, f, bindings) }); err != nil {
			return err
		}
		return o.forgetRows(ctx, tx, by, f, i)
	})
	return done, err
}

func (o *Operator) lock(ctx context.Context, tx *store.Tx, f forgotten) (bool, error) {
	if f.bindingID == "" {
		return o.Store.LockInstance(ctx, tx, f.instanceID)
	}
	locked, err := o.Store.LockBinding(ctx, tx, store.LockBindingParams{InstanceID: f.instanceID, BindingID: f.bindingID})
	return locked != nil && *locked, err
}

func (o *Operator) forgetSecrets(ctx context.Context, f forgotten, bindings []store.Binding) error {
	for _, b := range bindings {
		if !f.has(b.ID) {
			continue
		}
		if err := o.withdraw(ctx, b); err != nil {
			return fmt.Errorf("withdraw the credentials of binding %s: %w", b.ID, err)
		}
		for _, path := range []credhub.Path{
			credhub.CredentialsPath(b.InstanceID, b.ID), credhub.VolumeMountsPath(b.InstanceID, b.ID), credhub.SeedPath(b.InstanceID, b.ID),
		} {
			if err := o.Credentials.Delete(ctx, path); err != nil {
				return fmt.Errorf("delete the credentials of binding %s: %w", b.ID, err)
			}
		}
	}
	return nil
}

func (o *Operator) withdraw(ctx context.Context, b store.Binding) error {
	if b.Delivery == credhub.Inline {
		return nil
	}
	deliveries, err := o.Deliveries(ctx)
	if err != nil {
		return err
	}
	return deliveries[b.Delivery].Withdraw(ctx, operation.Reader(b))
}

func (o *Operator) forgetRows(ctx context.Context, tx *store.Tx, by Actor, f forgotten, i store.Instance) error {
	if f.bindingID != "" {
		if err := o.Store.DeleteBinding(ctx, tx, f.bindingID); err != nil {
			return err
		}
	} else if err := o.Store.DeleteBindingsOfInstance(ctx, tx, i.ID); err != nil {
		return err
	} else if err := errors.Join(o.Engine.ForgetBackups(ctx, tx, i), o.Store.DeleteInstance(ctx, tx, i.ID)); err != nil {
		return err
	}
	return o.Store.InsertAudit(ctx, tx, store.InsertAuditParams{
		Platform: i.Platform, Originating: json.RawMessage(by), Action: store.ActionForget, Event: store.EventSucceeded,
		InstanceID: i.ID, BindingID: f.bindingID, ServiceID: i.ServiceID, PlanID: i.PlanID, Outcome: store.OutcomeForgotten,
	})
}
