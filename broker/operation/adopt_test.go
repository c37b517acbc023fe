package operation

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services"
)

func TestWhileNotYet(t *testing.T) {
	failed := errors.New("failed")
	calls := 0
	err := whileNotYet(t.Context(), func() error {
		if calls++; calls < 3 {
			return services.NotYet(time.Millisecond, "sessions are ending")
		}
		return failed
	})
	if calls != 3 || !errors.Is(err, failed) {
		t.Errorf("%d calls: %v", calls, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	err = whileNotYet(ended, func() error { return services.NotYet(time.Hour, "sessions are ending") })
	if err == nil || err.Error() != "not done in time: sessions are ending" {
		t.Errorf("out of time: %v", err)
	}
}
