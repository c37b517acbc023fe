package sandbox

import (
	"bytes"
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

type engineKey struct{}

// engine is one instance of the JavaScript engine. Values are pointers into its
// memory; they are never freed, since the instance does not live long. After the first
// error all calls return 0.
type engine struct {
	ctx    context.Context // of the guest's run
	module api.Module
	// host carries out a function of the host that the prelude calls, by name.
	host func(e *engine, name string, args []uint64)
	err  error
}

// errScript is a JavaScript exception. Its text includes the stack.
type errScript struct{ text string }

func (e *errScript) Error() string { return e.text }

var errEngine = errors.New("the JavaScript engine has no memory left")

// newEngine makes module a fresh JavaScript context.
func newEngine(ctx context.Context, module api.Module, host func(e *engine, name string, args []uint64)) *engine {
	e := &engine{module: module, host: host}
	e.ctx = context.WithValue(ctx, engineKey{}, e)
	e.call("_initialize")
	e.require(e.call("qjs_init") == 0)
	return e
}

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
	e.require(found)
	values := make([]uint64, count)
	for i := range values {
		value, found := module.Memory().ReadUint32Le(args + uint32(i)*4) //nolint:gosec // few
		e.require(found)
		values[i] = uint64(value)
	}
	result := e.answer(string(text), values)
	if e.err != nil {
		panic(e.err) // wazero makes it the error of the function that was called
	}
	return uint32(result) //nolint:gosec // a pointer of 32 bits
}

func (e *engine) answer(name string, args []uint64) uint64 {
	if name == "now" { // milliseconds since 1970, the only one with a result
		return e.call("qjs_new_number", api.EncodeF64(float64(time.Now().UnixMicro())/1000))
	}
	if e.err == nil {
		e.host(e, name, args)
	}
	return e.call("qjs_get_undefined")
}

// require ends the engine where a condition does not hold, which is so without memory.
func (e *engine) require(holds bool) {
	if e.err == nil && !holds {
		e.err = errEngine
	}
}

// call calls an exported function of the engine. Its result is 0 where it has
// none.
func (e *engine) call(name string, args ...uint64) uint64 {
	if e.err != nil {
		return 0
	}
	function := e.module.ExportedFunction(name)
	if function == nil {
		e.err = fmt.Errorf("the JavaScript engine has no function %s", name)
		return 0
	}
	results, err := function.Call(e.ctx, args...)
	if err != nil {
		e.err = err
	}
	if err != nil || len(results) == 0 {
		return 0
	}
	return results[0]
}

// write puts text, and a zero behind it, into the engine's memory.
func (e *engine) write(text []byte) (at uint64) {
	at = e.call("wasm_malloc", uint64(len(text))+1)
	e.require(at != 0 && e.module.Memory().Write(uint32(at), append(text[:len(text):len(text)], 0))) //nolint:gosec // 32 bits
	return at
}

// text makes a JavaScript string.
func (e *engine) text(text []byte) uint64 {
	return e.value(e.call("qjs_new_string", e.write(text), uint64(len(text))))
}

// read gives a value's text, which is what String makes of it.
func (e *engine) read(value uint64) []byte {
	length := e.write(make([]byte, 4))
	at := e.call("qjs_get_string_len", value, length)
	size, found := e.module.Memory().ReadUint32Le(uint32(length)) //nolint:gosec // 32 bits
	text, also := e.module.Memory().Read(uint32(at), size)        //nolint:gosec // 32 bits
	e.require(at != 0 && found && also)
	if e.err != nil {
		return nil
	}
	text = bytes.Clone(text)
	e.call("qjs_free_cstring", at)
	return text
}

// value is value, unless that is an exception, which becomes the engine's error.
func (e *engine) value(value uint64) uint64 {
	e.require(value != 0)
	if e.call("qjs_is_exception", value) != 0 {
		e.err = e.exception()
	}
	return value
}

// exception is the pending one, as an *errScript where it can be read.
func (e *engine) exception() error {
	value := e.call("qjs_get_exception")
	text := e.read(value)
	if e.err != nil {
		return e.err
	}
	// The stack may be a getter of the script's, which throws.
	stack := e.call("qjs_get_prop_string", value, e.write([]byte("stack")))
	if e.call("qjs_is_exception", stack) == 0 {
		if lines := e.read(stack); e.err == nil && string(lines) != "undefined" {
			text = append(append(text, '\n'), lines...)
		}
	}
	return &errScript{text: string(text)}
}

// eval evaluates a script.
func (e *engine) eval(script []byte, name string) uint64 {
	return e.value(e.call("qjs_eval", e.write(script), uint64(len(script)), e.write([]byte(name)), 0))
}

// check compiles a script, and does not run it.
func (e *engine) check(script []byte, name string) {
	source, file, length := e.write(script), e.write([]byte(name)), e.write(make([]byte, 4))
	if compiled := e.call("qjs_compile", source, uint64(len(script)), file, 0, 0, length); e.err == nil && compiled == 0 {
		e.err = e.exception()
	}
}

// apply calls a JavaScript function.
func (e *engine) apply(function uint64, args ...uint64) uint64 {
	var list []byte
	for _, arg := range args {
		list = binary.LittleEndian.AppendUint32(list, uint32(arg)) //nolint:gosec // 32 bits
	}
	return e.value(e.call("qjs_call", function, e.call("qjs_get_undefined"), uint64(len(args)), e.write(list)))
}

// property reads a member of an object.
func (e *engine) property(object uint64, name string) uint64 {
	return e.value(e.call("qjs_get_prop_string", object, e.write([]byte(name))))
}

// function makes a JavaScript function that calls the host's under name.
func (e *engine) function(name string) uint64 {
	return e.value(e.call("qjs_new_host_function", e.write([]byte(name)), uint64(len(name)), 0))
}

// runJobs runs what promises wait for, until stop.
func (e *engine) runJobs(stop func() bool) {
	for e.err == nil && !stop() && e.call("qjs_is_job_pending") != 0 {
		if left := int32(uint32(e.call("qjs_execute_pending_job"))); left < 0 { //nolint:gosec // a C int
			e.err = e.exception()
		}
	}
}

// number is a value's number, or NaN.
func (e *engine) number(value uint64) float64 { return api.DecodeF64(e.call("qjs_get_float64", value)) }
