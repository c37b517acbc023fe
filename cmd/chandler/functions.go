package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/chandler-broker/chandler/embedded"
)

// functionsProgram is the program of the function runtime.
const functionsProgram = "chandler-functions"

// functionsBackend is the type of its backend, functionsBackendBefore what that was
// called in folders of earlier versions.
const (
	functionsBackend       = "function/openwhisk"
	functionsBackendBefore = "function/wasm"
)

// currentBackends replaces the former name of the functions' backend.
func currentBackends(types []string) []string {
	types = slices.Clone(types)
	for i, t := range types {
		if t == functionsBackendBefore {
			types[i] = functionsBackend
		}
	}
	return types
}

// newFunctions tells those who start the runtime as releases before its own program
// did.
func newFunctions() *cobra.Command {
	return &cobra.Command{
		Use: "functions", Short: "Moved to the program " + functionsProgram, Hidden: true, DisableFlagParsing: true,
		RunE: func(*cobra.Command, []string) error {
			return usagef("the function runtime is a program of its own: run %s in the same environment; its --help lists what is new there", functionsProgram)
		},
	}
}

// startFunctions starts the runtime on the database that the folder has for it.
func startFunctions(ctx context.Context, f *devFolder, _ io.Writer) (devServer, map[string]string, error) {
	program, err := findFunctions()
	if err != nil {
		return nil, nil, err
	}
	r, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{
		Program: program, Dir: f.path("functions"), DatabaseURL: f.functions,
		Env: []string{"FUNCTIONS_MESSAGE_SERVERS=*"}, // tenants are who runs it
	})
	if err != nil {
		return nil, nil, err
	}
	return r, map[string]string{
		"FUNCTIONS_API_HOST": r.URL(), "FUNCTIONS_ADMIN_URL": r.AdminURL(), "FUNCTIONS_ADMIN_TOKEN": r.AdminToken(),
	}, nil
}

// findFunctions returns the runtime's program: the one beside this program, which is
// of the same release, or else the one in PATH.
func findFunctions() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), functionsProgram)
	if program, err := exec.LookPath(beside); err == nil {
		return program, nil
	}
	program, err := exec.LookPath(functionsProgram)
	if err != nil {
		return "", fmt.Errorf("%w: put %s into %s or into PATH; 'make build' and releases have both programs",
			embedded.ErrNoFunctions, functionsProgram, filepath.Dir(self))
	}
	return filepath.Abs(program)
}
