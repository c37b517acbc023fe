package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/chandler-broker/chandler/credhub"
)

// writeTime is how long a change of a credential store may take once it has begun.
const writeTime = 8 * time.Second

// writeContext is the context of a change that is not cut off when its operation is
// cancelled or out of time: one that was sent and given up may arrive after what
// undoes it, and then stays for ever. Its turn keeps the lock until it is known what
// came of it. Where the lock is lost, or the process ends, somebody else may go on
// at once, and the sooner it stops the better.
func writeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	change, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) && !errors.Is(cause, context.DeadlineExceeded) {
			cancel()
		}
	})
	return change, func() { stop(); cancel() }
}

// recoverPanic makes a panic the error of a call that the engine makes in goroutines of
// its own, where it would end the process.
func recoverPanic(ctx context.Context, logger *slog.Logger, what string, err *error) {
	if p := recover(); p != nil {
		logger.ErrorContext(ctx, "a change of secrets panicked", "part", what, "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
		*err = fmt.Errorf("the %s panicked; the log has the stack", what)
	}
}

// completingStore is a credential store whose changes are not cut off, and whose errors are
// known as its own.
type completingStore struct {
	credhub.Store
	logger *slog.Logger
}

// Ensure implements credhub.Store.
func (s completingStore) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (_ json.RawMessage, err error) {
	defer recoverPanic(ctx, s.logger, "credential store", &err)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	value, err = s.Store.Ensure(ctx, path, value)
	return value, credentialsFailed(err)
}

// Put implements credhub.Store.
func (s completingStore) Put(ctx context.Context, path credhub.Path, value json.RawMessage) (err error) {
	defer recoverPanic(ctx, s.logger, "credential store", &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	return credentialsFailed(s.Store.Put(ctx, path, value))
}

// Delete implements credhub.Store.
func (s completingStore) Delete(ctx context.Context, path credhub.Path) (err error) {
	defer recoverPanic(ctx, s.logger, "credential store", &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	return credentialsFailed(s.Store.Delete(ctx, path))
}

// completingDelivery is a delivery whose changes are not cut off.
type completingDelivery struct {
	credhub.Delivery
	logger *slog.Logger
}

// Deliver implements credhub.Delivery.
func (d completingDelivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) (err error) {
	defer recoverPanic(ctx, d.logger, "delivery", &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	return d.Delivery.Deliver(ctx, r, value)
}

// Withdraw implements credhub.Delivery.
func (d completingDelivery) Withdraw(ctx context.Context, r credhub.Reader) (err error) {
	defer recoverPanic(ctx, d.logger, "delivery", &err)
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	return d.Delivery.Withdraw(ctx, r)
}
