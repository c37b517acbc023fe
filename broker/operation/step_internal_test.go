package operation

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A server that stalls answers a removal, and then carries out a write that a killed broker had
// sent before.
func TestRemovalOutlastsAbandonedWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var exists atomic.Bool
		calls := 0
		err := confirmed(t.Context(), func() error {
			if calls++; calls == 1 {
				time.Sleep(2 * time.Second)
				time.AfterFunc(100*time.Millisecond, func() { exists.Store(true) })
			}
			exists.Store(false)
			return nil
		})
		time.Sleep(time.Minute)
		if err != nil || exists.Load() || calls != 2 {
			t.Errorf("err %v, exists %t after %d calls", err, exists.Load(), calls)
		}
	})
}

func TestPromptRemovalIsNotRepeated(t *testing.T) {
	calls := 0
	if err := confirmed(t.Context(), func() error { calls++; return nil }); err != nil || calls != 1 {
		t.Errorf("err %v after %d calls", err, calls)
	}
}

// A server whose every removal takes long is not asked for ever.
func TestRemovalFromASlowServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		if err := confirmed(t.Context(), func() error { calls++; time.Sleep(time.Second); return nil }); err != nil || calls != 2 {
			t.Errorf("err %v after %d calls", err, calls)
		}
	})
}

func TestRemovalEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1100*time.Millisecond)
		defer cancel()
		if err := confirmed(ctx, func() error { time.Sleep(time.Second); return nil }); err == nil {
			t.Error("a removal that could not be confirmed in time succeeded")
		}
	})
}
