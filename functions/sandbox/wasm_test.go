package sandbox

import "slices"

// wasmModule makes tiny modules by hand, for what compilers do not write.
type wasmModule struct {
	imports  [][3]string // module, name, "" for a function ()→() or "global"
	memory   []byte      // limits; nil: one page
	noMemory bool
	table    []byte   // limits
	globals  [][]byte // definitions
	bodies   [][]byte // of functions ()→(); the first is _start; locals included
	start    string   // another name than _start
	data     [][]byte // segments
	custom   []byte   // the content of a custom section, at the end
}

func (m wasmModule) bytes() []byte {
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, entries ...[]byte) {
		if len(entries) == 0 {
			return
		}
		body := appendU32(nil, uint32(len(entries)))
		for _, e := range entries {
			body = append(body, e...)
		}
		out = append(appendU32(append(out, id), uint32(len(body))), body...)
	}
	section(1, []byte{0x60, 0, 0})
	var imports, functions, code [][]byte
	for _, i := range m.imports {
		entry := slices.Concat(text(i[0]), text(i[1]))
		if i[2] == "global" {
			entry = append(entry, 3, 0x7f, 0)
		} else {
			entry = append(entry, 0, 0)
		}
		imports = append(imports, entry)
	}
	for _, body := range m.bodies {
		functions = append(functions, []byte{0})
		code = append(code, append(appendU32(nil, uint32(len(body))), body...))
	}
	section(2, imports...)
	section(3, functions...)
	if m.table != nil {
		section(4, append([]byte{0x70}, m.table...))
	}
	memory := m.memory
	if memory == nil {
		memory = []byte{0, 1}
	}
	start := m.start
	if start == "" {
		start = "_start"
	}
	exports := [][]byte{append(text(start), 0, byte(len(imports)))}
	if !m.noMemory {
		section(5, memory)
		exports = append(exports, append(text("memory"), 2, 0))
	}
	section(6, m.globals...)
	section(7, exports...)
	section(10, code...)
	section(11, m.data...)
	if m.custom != nil {
		out = append(appendU32(append(out, 0), uint32(len(m.custom))), m.custom...)
	}
	return out
}

func text(s string) []byte { return append(appendU32(nil, uint32(len(s))), s...) }

// body is a function's body without locals.
func body(code ...byte) []byte { return append(append([]byte{0}, code...), opEnd) }

func (m wasmModule) code() Code { return codeOf(m.bytes(), WASM) }
