package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// compile meters and compiles the module in a folder, and writes what can be published
// into its outFolder. Errors are *CodeError where the module is to blame. It runs in its
// own process, whose memory and CPU time are limited.
func compile(ctx context.Context, request compileRequest) error {
	into := filepath.Join(request.Folder, outFolder)
	source, err := os.ReadFile(filepath.Join(request.Folder, sourceFile))
	if err != nil {
		return fmt.Errorf("read the module: %w", err)
	}
	metered, err := meter(source)
	if err != nil {
		return err
	}
	code := &loaded{hash: request.Hash}
	defer code.close()
	if err := os.Mkdir(filepath.Join(into, codeFolder), 0o700); err != nil {
		return fmt.Errorf("write the compiled module: %w", err)
	}
	if err := os.WriteFile(filepath.Join(into, wasmFile), metered, 0o600); err != nil { //nolint:gosec // the pool names the folder
		return fmt.Errorf("write the compiled module: %w", err)
	}
	if err := code.compile(ctx, into); err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			return fmt.Errorf("write the compiled module: %w", err)
		}
		return &CodeError{"the WebAssembly module is invalid: " + firstLine(err.Error())}
	}
	if code.hash != engineHash {
		if err := checkModule(ctx, code.runtime, code.module); err != nil {
			return err
		}
	}
	return sign(into)
}

// checkModule checks that module is a command of WASI preview 1.
func checkModule(ctx context.Context, runtime wazero.Runtime, module wazero.CompiledModule) error {
	start, found := module.ExportedFunctions()["_start"]
	if !found {
		return &CodeError{"the module exports no function _start: compile it as a command, not as a library"}
	}
	if len(start.ParamTypes())+len(start.ResultTypes()) > 0 {
		return &CodeError{"the module's function _start must have no parameters and no results"}
	}
	if len(module.ExportedMemories()) == 0 {
		return &CodeError{`the module must export its memory, as "memory"`}
	}
	host, err := wasi_snapshot_preview1.NewBuilder(runtime).Compile(ctx)
	if err != nil {
		return err
	}
	known := host.ExportedFunctions()
	for _, function := range module.ImportedFunctions() {
		if err := checkImport(function, known); err != nil {
			return err
		}
	}
	return nil
}

func checkImport(function api.FunctionDefinition, known map[string]api.FunctionDefinition) error {
	from, name, _ := function.Import()
	wasi, found := known[name]
	switch {
	case from == "wasi_unstable":
		return &CodeError{"the module is for an old version of WASI (wasi_unstable); compile it for WASI preview 1"}
	case from != wasi_snapshot_preview1.ModuleName || !found:
		return &CodeError{"the module imports the function " + quoteName(from, name) + "; only those of WASI preview 1 (" +
			wasi_snapshot_preview1.ModuleName + ") exist"}
	case types(function) != types(wasi):
		return &CodeError{"the module imports the function " + quoteName(from, name) + " with other parameters than WASI preview 1 gives it"}
	}
	return nil
}

// types returns the types of the parameters and the results.
func types(function api.FunctionDefinition) [2]string {
	return [2]string{string(function.ParamTypes()), string(function.ResultTypes())}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}
