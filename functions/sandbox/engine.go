package sandbox

import (
	"context"
	"crypto/sha256"
	_ "embed" // the engine
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// engineModule is the JavaScript engine; see engine/README.md.
//
//go:embed engine/quickjs.wasm
var engineModule []byte

//go:embed engine/prelude.js
var prelude string

var engineHash = hashOf(engineModule)

func hashOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

func engineCode() Code {
	return Code{Hash: engineHash, Kind: WASM, Load: func(context.Context) ([]byte, error) { return engineModule, nil }}
}

// engineHost is what the engine calls while it works for one guest.
type engineHost interface {
	// called carries out a host function that the prelude calls, by name.
	called(ctx context.Context, e *engine, name string, args []uint64) error
}

type engineKey struct{}

// engine is one instance of the JavaScript engine. Values are pointers into its
// memory; they are never freed, since the instance does not live long. After an
// error it is of no further use.
type engine struct {
	module api.Module
	host   engineHost
}

// errScript is a JavaScript exception. Its text holds the stack, too.
type errScript struct{ text string }

func (e *errScript) Error() string { return e.text }

// instantiateEngineHost gives the engine's imports to a runtime.
func instantiateEngineHost(ctx context.Context, runtime wazero.Runtime) error {
	_, err := runtime.NewHostModuleBuilder("env").
		NewFunctionBuilder().WithFunc(hostCall).Export("host_call").
		NewFunctionBuilder().WithFunc(func() uint32 { return 0 }).Export("host_interrupt").
		NewFunctionBuilder().WithFunc(func(_, _, _ uint32) {}).Export("host_promise_rejection").
		NewFunctionBuilder().WithFunc(func(_, _ uint32) uint32 { return 0 }).Export("host_module_normalize").
		NewFunctionBuilder().WithFunc(func(_, _ uint32) uint32 { return 0 }).Export("host_module_load").
		NewFunctionBuilder().WithFunc(func(_, _ uint32) uint32 { return 0 }).Export("host_get_timezone_offset"). // UTC
		Instantiate(ctx)
	return err
}

// hostCall is env.host_call: JavaScript calls a function of the host.
func hostCall(ctx context.Context, module api.Module, name, length, _, count, args uint32) uint32 {
	e, ok := ctx.Value(engineKey{}).(*engine)
	if !ok || e.host == nil {
		panic(errors.New("the engine called without a host"))
	}
	text, found := module.Memory().Read(name, length)
	if !found {
		panic(errEngine)
	}
	values := make([]uint64, count)
	for i := range values {
		value, found := module.Memory().ReadUint32Le(args + uint32(i)*4) //nolint:gosec // few
		if !found {
			panic(errEngine)
		}
		values[i] = uint64(value)
	}
	result, err := e.answerCall(ctx, string(text), values)
	if err != nil {
		panic(err) // wazero makes it the error of the function that was called
	}
	return result
}

func (e *engine) answerCall(ctx context.Context, name string, args []uint64) (uint32, error) {
	if name == "now" { // milliseconds since 1970, the only one with a result
		value, err := e.call(ctx, "qjs_new_number", api.EncodeF64(float64(time.Now().UnixMicro())/1000))
		return uint32(value), err //nolint:gosec // a pointer of 32 bits
	}
	if err := e.host.called(ctx, e, name, args); err != nil {
		return 0, err
	}
	value, err := e.call(ctx, "qjs_get_undefined")
	return uint32(value), err //nolint:gosec // a pointer of 32 bits
}

var errEngine = errors.New("the JavaScript engine has no memory left")

// begin makes module a fresh JavaScript context.
func (e *engine) begin(ctx context.Context) error {
	if _, err := e.call(ctx, "_initialize"); err != nil {
		return err
	}
	failed, err := e.call(ctx, "qjs_init")
	if err == nil && failed != 0 {
		err = errEngine
	}
	return err
}

// call calls an exported function of the engine. Its result is 0 where it has
// none.
func (e *engine) call(ctx context.Context, name string, args ...uint64) (uint64, error) {
	function := e.module.ExportedFunction(name)
	if function == nil {
		return 0, fmt.Errorf("the JavaScript engine has no function %s", name)
	}
	results, err := function.Call(context.WithValue(ctx, engineKey{}, e), args...)
	if err != nil || len(results) == 0 {
		return 0, err
	}
	return results[0], nil
}

// write puts text, and a zero behind it, into the engine's memory.
func (e *engine) write(ctx context.Context, text []byte) (at uint64, err error) {
	at, err = e.call(ctx, "wasm_malloc", uint64(len(text))+1)
	if err != nil {
		return 0, err
	}
	if at == 0 || !e.module.Memory().Write(uint32(at), append(text[:len(text):len(text)], 0)) { //nolint:gosec // 32 bits
		return 0, errEngine
	}
	return at, nil
}

// text makes a JavaScript string.
func (e *engine) text(ctx context.Context, text []byte) (uint64, error) {
	at, err := e.write(ctx, text)
	if err != nil {
		return 0, err
	}
	return e.value(ctx)(e.call(ctx, "qjs_new_string", at, uint64(len(text))))
}

// read gives a value's text, which is what String makes of it.
func (e *engine) read(ctx context.Context, value uint64) ([]byte, error) {
	length, err := e.write(ctx, make([]byte, 4))
	if err != nil {
		return nil, err
	}
	at, err := e.call(ctx, "qjs_get_string_len", value, length)
	if err != nil {
		return nil, err
	}
	size, found := e.module.Memory().Read(uint32(length), 4) //nolint:gosec // 32 bits
	if !found || at == 0 {
		return nil, errEngine
	}
	text, found := e.module.Memory().Read(uint32(at), binary.LittleEndian.Uint32(size)) //nolint:gosec // 32 bits
	if !found {
		return nil, errEngine
	}
	text = append([]byte(nil), text...)
	_, err = e.call(ctx, "qjs_free_cstring", at)
	return text, err
}

// value turns a result that is an exception into an *errScript.
func (e *engine) value(ctx context.Context) func(uint64, error) (uint64, error) {
	return func(value uint64, err error) (uint64, error) {
		if err != nil {
			return 0, err
		}
		if value == 0 {
			return 0, errEngine
		}
		thrown, err := e.call(ctx, "qjs_is_exception", value)
		if err != nil || thrown == 0 {
			return value, err
		}
		return 0, e.exception(ctx)
	}
}

// exception is the pending one, as an *errScript where it can be read.
func (e *engine) exception(ctx context.Context) error {
	value, err := e.call(ctx, "qjs_get_exception")
	if err != nil {
		return err
	}
	text, err := e.read(ctx, value)
	if err != nil {
		return err
	}
	if stack, err := e.property(ctx, value, "stack"); err == nil {
		if lines, err := e.read(ctx, stack); err == nil && string(lines) != "undefined" {
			text = append(append(text, '\n'), lines...)
		}
	}
	return &errScript{text: string(text)}
}

// eval evaluates a script.
func (e *engine) eval(ctx context.Context, script []byte, name string) (uint64, error) {
	source, err := e.write(ctx, script)
	if err != nil {
		return 0, err
	}
	file, err := e.write(ctx, []byte(name))
	if err != nil {
		return 0, err
	}
	return e.value(ctx)(e.call(ctx, "qjs_eval", source, uint64(len(script)), file, 0))
}

// check compiles a script, and does not run it.
func (e *engine) check(ctx context.Context, script []byte, name string) error {
	source, err := e.write(ctx, script)
	if err != nil {
		return err
	}
	file, err := e.write(ctx, []byte(name))
	if err != nil {
		return err
	}
	length, err := e.write(ctx, make([]byte, 4))
	if err != nil {
		return err
	}
	compiled, err := e.call(ctx, "qjs_compile", source, uint64(len(script)), file, 0, 0, length)
	if err == nil && compiled == 0 {
		err = e.exception(ctx)
	}
	return err
}

// apply calls a JavaScript function.
func (e *engine) apply(ctx context.Context, function uint64, args ...uint64) (uint64, error) {
	var list []byte
	for _, arg := range args {
		list = binary.LittleEndian.AppendUint32(list, uint32(arg)) //nolint:gosec // 32 bits
	}
	at, err := e.write(ctx, list)
	if err != nil {
		return 0, err
	}
	undefined, err := e.call(ctx, "qjs_get_undefined")
	if err != nil {
		return 0, err
	}
	return e.value(ctx)(e.call(ctx, "qjs_call", function, undefined, uint64(len(args)), at))
}

// property reads a member of an object.
func (e *engine) property(ctx context.Context, object uint64, name string) (uint64, error) {
	at, err := e.write(ctx, []byte(name))
	if err != nil {
		return 0, err
	}
	return e.value(ctx)(e.call(ctx, "qjs_get_prop_string", object, at))
}

// function makes a JavaScript function that calls the host's under name.
func (e *engine) function(ctx context.Context, name string) (uint64, error) {
	at, err := e.write(ctx, []byte(name))
	if err != nil {
		return 0, err
	}
	return e.value(ctx)(e.call(ctx, "qjs_new_host_function", at, uint64(len(name)), 0))
}

// settle carries out what promises wait for.
func (e *engine) settle(ctx context.Context, done func() bool) error {
	for !done() {
		pending, err := e.call(ctx, "qjs_is_job_pending")
		if err != nil || pending == 0 {
			return err
		}
		left, err := e.call(ctx, "qjs_execute_pending_job")
		if err != nil {
			return err
		}
		if int32(uint32(left)) < 0 { //nolint:gosec // a C int
			return e.exception(ctx)
		}
	}
	return nil
}

// number is a value's number, or NaN.
func (e *engine) number(ctx context.Context, value uint64) (float64, error) {
	bits, err := e.call(ctx, "qjs_get_float64", value)
	return api.DecodeF64(bits), err
}
