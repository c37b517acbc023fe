package servicetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// ToTheEnd repeats a verb while the backend returns NotYet, like the engine, until ctx
// ends.
func ToTheEnd(ctx context.Context, verb func(context.Context) error) error {
	for {
		err := verb(ctx)
		notYet, ok := errors.AsType[*services.NotYetError](err)
		if !ok {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("still not done: %w", err)
		case <-time.After(notYet.After):
		}
	}
}
