package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// PowerDNS starts a PowerDNS server for t alone, which ends with t. Tests may
// restart and kill it. Of o, the folder may be left out. Where PowerDNS is not
// installed the test is skipped, and fails when CI=true.
func PowerDNS(t testing.TB, o embedded.PowerDNSOptions) *embedded.PowerDNS {
	t.Helper()
	if o.Dir == "" {
		o.Dir = reachableDir(t)
	}
	o.NoSync = true
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := embedded.StartPowerDNS(ctx, o)
	if errors.Is(err, embedded.ErrNoPowerDNS) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return server
}
