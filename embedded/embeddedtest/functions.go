package embeddedtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded"
)

// FunctionsProgram returns the program of the function runtime, and builds it where
// that has not been done on this machine. Where it cannot be built the test is
// skipped, and fails when CI=true.
func FunctionsProgram(t testing.TB) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildTimeout)
	defer cancel()
	program, err := embedded.BuildFunctions(ctx, t.Output())
	if errors.Is(err, embedded.ErrNoFunctions) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// Functions starts a function runtime on a database, which ends with t.
func Functions(t testing.TB, database string, env ...string) *embedded.Functions {
	t.Helper()
	program := FunctionsProgram(t)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	f, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{Program: program, Dir: t.TempDir(), DatabaseURL: database, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout) // t's own has ended
		defer cancel()
		if err := f.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}
