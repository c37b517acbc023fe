package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// buildTimeout is for the first build on a slow machine.
const buildTimeout = 15 * time.Minute

// VaultBinary returns the Vault server's program, and builds it where that has
// not been done on this machine. Where it cannot be built the test is skipped,
// and fails when CI=true.
func VaultBinary(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	binary, err := embedded.BuildVault(ctx, t.Output())
	if errors.Is(err, embedded.ErrNoVault) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// Vault starts a Vault server for t alone, which ends with t. Tests may seal,
// restart and kill it; it starts in well under a second. Identity may be nil.
func Vault(t testing.TB, identity *embedded.VaultTLS) *embedded.Vault {
	t.Helper()
	binary := VaultBinary(t)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	v, err := embedded.StartVault(ctx, embedded.VaultOptions{Binary: binary, Dir: t.TempDir(), TLS: identity})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := v.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return v
}
