package sandbox

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

func TestRefusedModules(t *testing.T) {
	p := open(t, ownFolder(t))
	simple := body()
	for name, test := range map[string]struct {
		module []byte
		reason string
	}{
		"nothing":               {nil, "not a WebAssembly module"},
		"JavaScript":            {[]byte("function main() {}"), "not a WebAssembly module"},
		"a component":           {[]byte("\x00asm\x0d\x00\x01\x00"), "is a WebAssembly component"},
		"another version":       {[]byte("\x00asm\x02\x00\x00\x00"), "unknown version"},
		"an empty module":       {[]byte("\x00asm\x01\x00\x00\x00"), "one memory"},
		"a cut one":             {wasmModule{bodies: [][]byte{simple}}.bytes()[:30], "malformed"},
		"a library":             {wasmModule{start: "_initialize", bodies: [][]byte{simple}}.bytes(), "no function _start"},
		"no memory":             {wasmModule{noMemory: true, bodies: [][]byte{simple}}.bytes(), "one memory"},
		"shared memory":         {wasmModule{memory: []byte{3, 1, 2}, bodies: [][]byte{simple}}.bytes(), "shared"},
		"a foreign import":      {wasmModule{imports: [][3]string{{"env", "system"}}, bodies: [][]byte{simple}}.bytes(), `"system" of "env"`},
		"the engine's imports":  {wasmModule{imports: [][3]string{{"env", "host_call"}}, bodies: [][]byte{simple}}.bytes(), `"host_call" of "env"`},
		"an unknown function":   {wasmModule{imports: [][3]string{{"wasi_snapshot_preview1", "sock_connect"}}, bodies: [][]byte{simple}}.bytes(), "sock_connect"},
		"other parameters":      {wasmModule{imports: [][3]string{{"wasi_snapshot_preview1", "fd_write"}}, bodies: [][]byte{simple}}.bytes(), "other parameters"},
		"an older WASI":         {wasmModule{imports: [][3]string{{"wasi_unstable", "fd_write"}}, bodies: [][]byte{simple}}.bytes(), "old version of WASI"},
		"an imported global":    {wasmModule{imports: [][3]string{{"env", "g", "global"}}, bodies: [][]byte{simple}}.bytes(), "not a function"},
		"the counter":           {wasmModule{bodies: [][]byte{body(opGlobalGet, 0, opDrop)}}.bytes(), "malformed"},
		"the counter, written":  {wasmModule{globals: [][]byte{{0x7f, 1, opI32Const, 1, opEnd}}, bodies: [][]byte{body(opI32Const, 1, opGlobalSet, 1)}}.bytes(), "malformed"},
		"the extra local":       {wasmModule{bodies: [][]byte{body(opLocalGet, 0, opDrop)}}.bytes(), "malformed"},
		"a huge table":          {wasmModule{table: []byte{0, 0x80, 0x80, 0x80, 0x80, 1}, bodies: [][]byte{simple}}.bytes(), "tables are too large"},
		"an unknown operation":  {wasmModule{bodies: [][]byte{body(0x18)}}.bytes(), "not in WebAssembly 2.0"},
		"a wrong type":          {wasmModule{bodies: [][]byte{body(opI32Const, 1)}}.bytes(), "invalid"},
		"a function too little": {append(wasmModule{bodies: [][]byte{simple}}.bytes()[:8], 3, 2, 1, 0), "one memory"},
	} {
		t.Run(name, func(t *testing.T) {
			code := codeOf(test.module, WASM)
			refused := new(CodeError)
			if err := p.Prepare(t.Context(), code); !errors.As(err, &refused) || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("error %v, want one with %q", err, test.reason)
			}
			if o := run(t, p, code, nil); o.Status != DeveloperError || !strings.Contains(string(o.Result), "error") {
				t.Errorf("called all the same: %s: %s", o.Status, o.Result)
			}
		})
	}
}

// The tests of hostile guests show that metering counts, and all others that it changes no
// results.
func TestMeteringKeepsWhatItMust(t *testing.T) {
	name := append(text("name"), 1, 0)
	for what, test := range map[string]struct {
		custom []byte
		kept   bool
	}{
		"names":      {name, true},
		"debug data": {append(text(".debug_info"), 1, 2, 3), false},
	} {
		metered, err := meter(wasmModule{bodies: [][]byte{body()}, custom: test.custom}.bytes())
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(metered, test.custom) != test.kept {
			t.Errorf("%s: kept %t, want %t", what, !test.kept, test.kept)
		}
	}
}

// TestHardToCompile: a module that takes too much to compile is refused, and affects nothing
// else.
func TestHardToCompile(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes more memory than the limits of this test")
	}
	// One function that is a long chain of blocks, each with a value that lives
	// until the end.
	var code []byte
	const blocks = 600_000
	for range blocks {
		code = append(code, opI32Const, 1, opMemoryGrow, 0)
	}
	for range blocks {
		code = append(code, 0x6a) // i32.add
	}
	code = append(code[:len(code)-1], opDrop)
	hard := codeOf(wasmModule{bodies: [][]byte{body(code...)}}.bytes(), WASM)
	for name, change := range map[string]func(*Options){
		"time":   func(o *Options) { o.CompileTime = 1e9 },
		"memory": func(o *Options) { o.CompileMemory = 80 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, ownFolder(t), change)
			refused := new(CodeError)
			if err := p.Prepare(t.Context(), hard); !errors.As(err, &refused) || !strings.Contains(err.Error(), "to compile") {
				t.Errorf("error %v, want one of the code", err)
			}
			if o := run(t, p, script(`function main() { return {} }`), nil); name == "time" && o.Status != Success {
				t.Logf("the engine itself: %s: %s", o.Status, o.Result) // one second may be too short for it
			}
		})
	}
}

func TestCodeOfAnotherHash(t *testing.T) {
	p := open(t)
	code := script(`function main() { return {a: 1} } // another`)
	code.Load = func(context.Context) ([]byte, error) { return []byte(`function main() { return {a: 2} }`), nil }
	if err := p.Prepare(t.Context(), code); err == nil || !strings.Contains(err.Error(), "not the one of hash") {
		t.Errorf("error %v", err)
	}
	code.Hash = "../../etc/passwd"
	if err := p.Prepare(t.Context(), code); err == nil {
		t.Error("a path is no hash")
	}
	if _, err := p.Run(t.Context(), Call{Code: code}); err == nil {
		t.Error("a path is no hash")
	}
	if err := p.Forget(code.Hash); err == nil {
		t.Error("a path is no hash")
	}
}

// TestJoinedSegments compares the memory of instances.
func TestJoinedSegments(t *testing.T) {
	data := func(at int32, content string) []byte {
		return append(append(appendS32([]byte{0, opI32Const}, at), opEnd), text(content)...)
	}
	for name, test := range map[string]struct {
		segments [][]byte
		after    int // how many are left
	}{
		"near":          {[][]byte{data(8, "abc"), data(20, "def"), data(23, "g"), data(63, "h"), data(64, "i"), data(200, "j")}, 1},
		"far":           {[][]byte{data(8, "abc"), data(8192, "def"), data(8200, "g")}, 2},
		"descending":    {[][]byte{data(20, "abc"), data(8, "def")}, 1},
		"overlapping":   {[][]byte{data(8, "abcdef"), data(10, "xyz"), data(9, "0")}, 3},
		"empty":         {[][]byte{data(8, ""), data(8, "a"), data(9, "")}, 1},
		"passive":       {[][]byte{data(8, "a"), append([]byte{1}, text("b")...)}, 2},
		"out of bounds": {[][]byte{data(-8, "a"), data(8, "b")}, 2},
		"above 2^31":    {[][]byte{data(-8, "a"), data(-4, "b")}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			module := wasmModule{memory: []byte{0, 2}, bodies: [][]byte{body()}, data: test.segments}.bytes()
			metered, err := meter(module)
			if err != nil {
				t.Fatal(err)
			}
			if got := segmentsOf(t, metered); got != test.after {
				t.Errorf("%d segments, want %d", got, test.after)
			}
			want, wantErr := initialMemory(t, module)
			got, gotErr := initialMemory(t, metered)
			if !bytes.Equal(want, got) || (wantErr == nil) != (gotErr == nil) {
				t.Errorf("the memory differs, or the errors do: %v, %v", wantErr, gotErr)
			}
		})
	}
}

func segmentsOf(t *testing.T, module []byte) int {
	t.Helper()
	in := wasmReader{rest: module[8:]}
	for len(in.rest) > 0 {
		id := in.byte()
		content := wasmReader{rest: in.take(in.u32())}
		if id == sectionData {
			return int(content.u32())
		}
	}
	t.Fatal("no data section")
	return 0
}

func initialMemory(t *testing.T, module []byte) ([]byte, error) {
	t.Helper()
	runtime := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer func() { must(t, runtime.Close(t.Context())) }()
	instance, err := runtime.InstantiateWithConfig(t.Context(), module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		return nil, err
	}
	content, _ := instance.Memory().Read(0, instance.Memory().Size())
	return bytes.Clone(content), nil
}
