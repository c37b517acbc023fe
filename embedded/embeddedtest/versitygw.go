package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// VersityGW starts a Versity S3 Gateway for t alone, which ends with t. Tests
// may restart and kill it. Of o, the binary and the folder may be left out.
// Where the gateway cannot be built the test is skipped, and fails when CI=true.
func VersityGW(t testing.TB, o embedded.VersityGWOptions) *embedded.VersityGW {
	t.Helper()
	building, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	var err error
	if o.Binary, err = embedded.BuildVersityGW(building, t.Output()); errors.Is(err, embedded.ErrNoVersityGW) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	starting, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	gateway, err := embedded.StartVersityGW(starting, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := gateway.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return gateway
}
