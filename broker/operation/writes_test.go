package operation

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/credhub"
)

// interrupted is a store and a delivery that is interrupted in each of its calls.
type interrupted struct {
	credhub.Store
	credhub.Delivery
	interrupt func()
	calls     int
}

func (i *interrupted) called(ctx context.Context) error {
	i.calls++
	i.interrupt()
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("a change without an end")
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

func (i *interrupted) Ensure(ctx context.Context, _ credhub.Path, v json.RawMessage) (json.RawMessage, error) {
	return v, i.called(ctx)
}

func (i *interrupted) Put(ctx context.Context, _ credhub.Path, _ json.RawMessage) error {
	return i.called(ctx)
}
func (i *interrupted) Delete(ctx context.Context, _ credhub.Path) error { return i.called(ctx) }

func (i *interrupted) Deliver(ctx context.Context, _ credhub.Reader, _ json.RawMessage) error {
	return i.called(ctx)
}
func (i *interrupted) Withdraw(ctx context.Context, _ credhub.Reader) error { return i.called(ctx) }

func (i *interrupted) Ready(context.Context) error { return nil }

// A change of a credential store that has begun is not given up: it could arrive
// after what undoes it, as long as the lock is held. One that has not begun is not
// begun any more.
func TestChangesAreSettled(t *testing.T) {
	path := credhub.SeedPath("i", "b")
	for name, change := range map[string]func(context.Context, *interrupted) error{
		"ensure": func(ctx context.Context, i *interrupted) error {
			_, err := completingStore{i, nil}.Ensure(ctx, path, nil)
			return err
		},
		"put":    func(ctx context.Context, i *interrupted) error { return completingStore{i, nil}.Put(ctx, path, nil) },
		"delete": func(ctx context.Context, i *interrupted) error { return completingStore{i, nil}.Delete(ctx, path) },
		"deliver": func(ctx context.Context, i *interrupted) error {
			return completingDelivery{i, nil}.Deliver(ctx, credhub.Reader{}, nil)
		},
		"withdraw": func(ctx context.Context, i *interrupted) error {
			return completingDelivery{i, nil}.Withdraw(ctx, credhub.Reader{})
		},
	} {
		for _, c := range []struct{ cause, want error }{{errInterrupted, nil}, {context.DeadlineExceeded, nil}, {errors.New("the lock was lost"), context.Canceled}} {
			ctx, cancel := context.WithCancelCause(t.Context())
			i := &interrupted{interrupt: func() { cancel(c.cause) }}
			if err := change(ctx, i); !errors.Is(err, c.want) || i.calls != 1 {
				t.Errorf("%s, %v: %v, %d calls", name, c.cause, err, i.calls)
			}
			if err := change(ctx, i); !errors.Is(err, context.Canceled) || i.calls != 1 {
				t.Errorf("%s, after %v: %v, %d calls", name, c.cause, err, i.calls)
			}
		}
	}
}
