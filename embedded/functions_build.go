package embedded

import (
	"context"
	"errors"
	"io"
)

// ErrNoFunctions is returned, wrapped, where the function runtime is not installed and
// cannot be built. The text around it says what is missing.
var ErrNoFunctions = errors.New("the function runtime is missing")

// BuildFunctions builds the program chandler-functions as BuildVault does the Vault
// server. Errors wrap ErrNoFunctions, or ctx's error.
func BuildFunctions(ctx context.Context, log io.Writer) (binary string, err error) {
	return ownServer{
		name: "function runtime", folder: "functions", main: "./cmd/chandler-functions", binary: functionsProgram, missing: ErrNoFunctions,
	}.build(ctx, log)
}
