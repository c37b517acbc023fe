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

// writeContext is the context of a change that runs to completion even if its operation is
// cancelled or out of time: an abandoned change could arrive after its own undo and would
// never be cleaned up. The attempt holds its lock until the change has ended. If the lock is
// lost, or the process ends, another attempt may begin at once, so the change is cut off.
func writeContext(ctx context.Context) (context.Context, context.CancelFunc) {
	change, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	stop := context.AfterFunc(ctx, func() {
		if cause := context.Cause(ctx); !errors.Is(cause, errInterrupted) && !errors.Is(cause, context.DeadlineExceeded) {
			cancel()
		}
	})
	return change, func() { stop(); cancel() }
}

// complete makes a change that has a part, the credential store or a delivery, as its
// subject. A change that has not begun when ctx ends does not begin. complete returns a
// panic as an error: the engine calls it in goroutines, where a panic would end the process.
func complete(ctx context.Context, logger *slog.Logger, part string, change func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			logger.ErrorContext(ctx, "a change of secrets panicked", "part", part, "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			err = fmt.Errorf("the %s panicked; the log has the stack", part)
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := writeContext(ctx)
	defer cancel()
	return change(ctx)
}

// completingStore is a credential store whose changes run to completion, and whose errors
// isCredentialsError recognizes.
type completingStore struct {
	credhub.Store
	logger *slog.Logger
}

func (s completingStore) complete(ctx context.Context, change func(context.Context) error) error {
	return complete(ctx, s.logger, "credential store", func(ctx context.Context) error { return credentialsFailed(change(ctx)) })
}

// Ensure implements credhub.Store.
func (s completingStore) Ensure(ctx context.Context, path credhub.Path, value json.RawMessage) (stored json.RawMessage, err error) {
	err = s.complete(ctx, func(ctx context.Context) error {
		stored, err = s.Store.Ensure(ctx, path, value)
		return err
	})
	return stored, err
}

// Put implements credhub.Store.
func (s completingStore) Put(ctx context.Context, path credhub.Path, value json.RawMessage) error {
	return s.complete(ctx, func(ctx context.Context) error { return s.Store.Put(ctx, path, value) })
}

// Delete implements credhub.Store.
func (s completingStore) Delete(ctx context.Context, path credhub.Path) error {
	return s.complete(ctx, func(ctx context.Context) error { return s.Store.Delete(ctx, path) })
}

// completingDelivery is a delivery whose changes run to completion.
type completingDelivery struct {
	credhub.Delivery
	logger *slog.Logger
}

// Deliver implements credhub.Delivery.
func (d completingDelivery) Deliver(ctx context.Context, r credhub.Reader, value json.RawMessage) error {
	return complete(ctx, d.logger, "delivery", func(ctx context.Context) error { return d.Delivery.Deliver(ctx, r, value) })
}

// Withdraw implements credhub.Delivery.
func (d completingDelivery) Withdraw(ctx context.Context, r credhub.Reader) error {
	return complete(ctx, d.logger, "delivery", func(ctx context.Context) error { return d.Delivery.Withdraw(ctx, r) })
}
