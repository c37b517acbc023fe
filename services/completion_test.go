package services_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// A change gets a few more seconds when its context ends.
func TestRunToCompletion(t *testing.T) {
	for name, test := range map[string]struct {
		takes, given, lasts time.Duration
		err                 error
	}{
		"in time":         {time.Second, time.Minute, time.Second, nil},
		"a little late":   {2 * time.Second, time.Second, 2 * time.Second, nil},
		"hanging":         {time.Hour, time.Second, 4 * time.Second, context.DeadlineExceeded},
		"not begun again": {time.Second, 0, 0, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), test.given)
				defer cancel()
				start := time.Now()
				err := services.RunToCompletion(ctx, func(ctx context.Context) error {
					select {
					case <-time.After(test.takes):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				if lasted := time.Since(start); !errors.Is(err, test.err) || lasted != test.lasts {
					t.Errorf("returned after %s: %v", lasted, err)
				}
			})
		})
	}
}
