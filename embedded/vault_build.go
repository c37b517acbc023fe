package embedded

import (
	"context"
	"errors"
	"io"
)

// ErrNoVault is returned, wrapped, where the Vault server cannot be built. The
// text around it says what is missing.
var ErrNoVault = errors.New("the Vault server cannot be built")

// BuildVault builds the Vault server of embedded/vaultserver, unless that has
// been done on this machine before, and returns the path of its binary. The
// first build takes some minutes; log gets the compiler's words. Several
// processes may call it at once: one builds, the others wait for it.
//
// It needs Go and a checkout of Chandler around the working directory. Errors
// wrap ErrNoVault, or ctx's error.
func BuildVault(ctx context.Context, log io.Writer) (binary string, err error) {
	return ownServer{name: "Vault server", folder: "embedded/vaultserver", main: ".", binary: "vault", missing: ErrNoVault}.build(ctx, log)
}
