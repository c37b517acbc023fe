package operation

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/chandler-broker/chandler/credhub"
)

// settleTime is how long a change of a credential store may take once it has begun.
const settleTime = 8 * time.Second

// settling is the context of a change that is not cut off when its operation is
// cancelled or out of time: one that was sent and given up may arrive after what
// undoes it, and then stays for ever. Its turn keeps the lock until it is known what
// came of it. Where the lock is lost, or the process ends, somebody else may go on
// at once, and the sooner it stops the better.
func settling(ctx context.Context) (context.Context, context.CancelFunc) {
	change, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) && !errors.Is(cause, context.DeadlineExceeded) {
			cancel()
		}
	})
	return change, func() { stop(); cancel() }
}

// settled is a credential store whose changes are not cut off, and whose errors are
// known as its own.
type settled struct{ credhub.Store }

// Ensure implements credhub.Store.
func (s settled) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	value, err := s.Store.Ensure(ctx, path, value)
	return value, credentialsFailed(err)
}

// Put implements credhub.Store.
func (s settled) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	return credentialsFailed(s.Store.Put(ctx, path, value))
}

// Delete implements credhub.Store.
func (s settled) Delete(ctx context.Context, path credhub.Path) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	return credentialsFailed(s.Store.Delete(ctx, path))
}

// settledDelivery is a delivery whose changes are not cut off.
type settledDelivery struct{ credhub.Delivery }

// Deliver implements credhub.Delivery.
func (d settledDelivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	return d.Delivery.Deliver(ctx, r, value)
}

// Withdraw implements credhub.Delivery.
func (d settledDelivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := settling(ctx)
	defer cancel()
	return d.Delivery.Withdraw(ctx, r)
}
