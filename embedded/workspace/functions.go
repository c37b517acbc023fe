package workspace

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/chandler-broker/chandler/embedded"
)

// FunctionsProgram is the program of the function runtime.
const FunctionsProgram = "chandler-functions"

// functionsBackend is the type of the functions' backend, and formerFunctionsBackend its name in
// folders of earlier versions.
const (
	functionsBackend       = "function/openwhisk"
	formerFunctionsBackend = "function/wasm"
)

// currentBackends replaces the former name of the functions' backend.
func currentBackends(types []string) []string {
	types = slices.Clone(types)
	for i, t := range types {
		if t == formerFunctionsBackend {
			types[i] = functionsBackend
		}
	}
	return types
}

// startFunctions starts the runtime on the functions' database.
func startFunctions(ctx context.Context, f *Folder, _ io.Writer) (Server, map[string]string, error) {
	program, err := findFunctions()
	if err != nil {
		return nil, nil, err
	}
	r, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{
		Program: program, Dir: f.Path("functions"), DatabaseURL: f.functionsURL,
		Env: []string{"FUNCTIONS_MESSAGE_SERVERS=*"}, // the only tenants are those who run it
	})
	if err != nil {
		return nil, nil, err
	}
	return r, map[string]string{
		"FUNCTIONS_API_HOST": r.URL(), "FUNCTIONS_ADMIN_URL": r.AdminURL(), "FUNCTIONS_ADMIN_TOKEN": r.AdminToken(),
	}, nil
}

// findFunctions returns the runtime's program: that beside this program, which is of the same
// release, or else that in PATH.
func findFunctions() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), FunctionsProgram)
	if program, err := exec.LookPath(beside); err == nil {
		return program, nil
	}
	program, err := exec.LookPath(FunctionsProgram)
	if err != nil {
		return "", fmt.Errorf("%w: put %s into %s or into PATH; 'make build' and releases have both programs",
			embedded.ErrNoFunctions, FunctionsProgram, filepath.Dir(self))
	}
	return filepath.Abs(program)
}
