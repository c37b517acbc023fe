package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// Samba starts a Samba server for t alone, which ends with t. Tests may restart
// and kill it. Of o, the folder may be left out. Without root, or where Samba is
// not installed, the test is skipped, and fails when CI=true.
func Samba(t testing.TB, o embedded.SambaOptions) *embedded.Samba {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "a Samba server takes root: run this test as root")
	}
	if o.Dir == "" {
		o.Dir = reachableDir(t)
	}
	o.NoSync = true
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	server, err := embedded.StartSamba(ctx, o)
	if errors.Is(err, embedded.ErrNoSamba) && os.Getenv("CI") != "true" {
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
