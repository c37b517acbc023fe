package embedded

import (
	"context"
	"errors"
	"io"
)

// ErrNoVersityGW is returned, wrapped, where the Versity S3 Gateway cannot be
// built. The text around it says what is missing.
var ErrNoVersityGW = errors.New("the Versity S3 Gateway cannot be built")

// BuildVersityGW builds the gateway of embedded/versitygwserver, unless that has
// been done on this machine before, and returns the path of its binary. The
// first build takes some minutes; log gets the compiler's words. Several
// processes may call it at once: one builds, the others wait for it.
//
// It needs Go and a checkout of Chandler around the working directory. Errors
// wrap ErrNoVersityGW, or ctx's error.
func BuildVersityGW(ctx context.Context, log io.Writer) (binary string, err error) {
	return ownServer{name: "Versity S3 Gateway", folder: "embedded/versitygwserver", main: ".", binary: "versitygw", missing: ErrNoVersityGW}.build(ctx, log)
}
