package sandbox

import (
	"context"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// environ is a guest's environment in WASI's form: NAME=value and a NUL, each. The context
// of its calls holds it, because wazero's WithEnv copies all variables for each new one.
type environ struct {
	block  []byte
	starts []uint32 // of the variables, within block
}

type environKey struct{}

// withEnviron adds the environment of the guest to the context of its calls, without
// variables that no environment can hold (POSIX, section 8.1).
func withEnviron(ctx context.Context, variables map[string]string) context.Context {
	e := &environ{}
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		value := variables[name]
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			continue
		}
		e.starts = append(e.starts, uint32(len(e.block))) //nolint:gosec // a message is at most maxFrame
		e.block = append(append(append(e.block, name...), '='), value...)
		e.block = append(e.block, 0)
	}
	return context.WithValue(ctx, environKey{}, e)
}

func environOf(ctx context.Context) *environ {
	if e, ok := ctx.Value(environKey{}).(*environ); ok {
		return e
	}
	return &environ{}
}

// instantiateWASI gives modules the functions of WASI preview 1.
func instantiateWASI(ctx context.Context, runtime wazero.Runtime) error {
	builder := runtime.NewHostModuleBuilder(wasi_snapshot_preview1.ModuleName)
	wasi_snapshot_preview1.NewFunctionExporter().ExportFunctions(builder)
	two, one := []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}, []api.ValueType{api.ValueTypeI32}
	for name, function := range map[string]api.GoModuleFunc{"environ_sizes_get": environSizes, "environ_get": environGet} {
		builder.NewFunctionBuilder().WithGoModuleFunction(function, two, one).Export(name)
	}
	_, err := builder.Instantiate(ctx)
	return err
}

// environSizes is environ_sizes_get(count, length).
func environSizes(ctx context.Context, guest api.Module, stack []uint64) {
	e, memory := environOf(ctx), guest.Memory()
	ok := memory.WriteUint32Le(api.DecodeU32(stack[0]), uint32(len(e.starts))) && //nolint:gosec // see withEnviron
		memory.WriteUint32Le(api.DecodeU32(stack[1]), uint32(len(e.block))) //nolint:gosec // see withEnviron
	stack[0] = wrote(ok)
}

// environGet is environ_get(pointers, block).
func environGet(ctx context.Context, guest api.Module, stack []uint64) {
	e, memory := environOf(ctx), guest.Memory()
	pointers, at := api.DecodeU32(stack[0]), api.DecodeU32(stack[1])
	list := make([]byte, 0, 4*len(e.starts))
	for _, start := range e.starts {
		list = binary.LittleEndian.AppendUint32(list, at+start)
	}
	stack[0] = wrote(memory.Write(pointers, list) && memory.Write(at, e.block))
}

// wrote is what the functions return: no error, or WASI's errno "fault".
func wrote(ok bool) uint64 {
	if ok {
		return 0
	}
	return 21
}
