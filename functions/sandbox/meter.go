package sandbox

import "slices"

// Metering makes code stop when its time is over, and lets the calls of one
// worker share its CPUs fairly. wazero can do both itself (WithCloseOnContextDone),
// by leaving the machine code for every iteration of every loop, which makes
// code that computes five times slower. So the module is rewritten instead:
//
//   - A global, which the module's own code has no number for, counts down at
//     the head of every loop, at the entry of every function that calls another,
//     and by the length of what the bulk instructions copy.
//   - When it has reached zero it starts again, and the code asks for more
//     memory than there can be. That is wazero's cheapest way out of machine
//     code: it comes to linearMemory.Reallocate, which ends the call when its
//     time is over, and where Go's scheduler may switch.
//
// So that the way out is always taken, the maximum that the module declares for
// its memory is removed: the call's limit holds. Tables without a maximum get
// one, since they are in Go's heap. Custom sections other than the names of
// functions are left out.

// meterVersion is part of where compiled code is kept. Change it when what meter
// writes changes.
const meterVersion = "meter3"

const (
	// fuel is how often the counter counts down from one safepoint to the
	// next: some ten microseconds of the fastest loop.
	fuel = 10_000
	// safepointPages is what a safepoint asks for; no call may have so much.
	safepointPages = 1<<15 - 1
	safepointBytes = safepointPages << 16
	// maxTable is how many entries a module's tables may have, all together.
	maxTable = 1 << 20
)

// The sections of a module (WebAssembly specification 2.0, section 5.5.2).
const (
	sectionCustom   = 0
	sectionType     = 1
	sectionImport   = 2
	sectionFunction = 3
	sectionTable    = 4
	sectionMemory   = 5
	sectionGlobal   = 6
	sectionCode     = 10
	sectionData     = 11
	sectionCounts   = 12
)

// meter rewrites a module. The errors are *CodeError. What it lets pass may
// still be invalid: wazero validates the rewritten module.
func meter(module []byte) ([]byte, error) {
	if err := checkHeader(module); err != nil {
		return nil, err
	}
	m := metering{out: slices.Clone(module[:8])}
	in := wasmReader{rest: module[8:]}
	for len(in.rest) > 0 && in.err == nil {
		id := in.byte()
		body := in.take(in.u32())
		if in.err != nil {
			break
		}
		if err := m.section(id, body); err != nil {
			return nil, err
		}
	}
	if in.err != nil {
		return nil, in.err
	}
	if m.memories == 0 {
		return nil, errNoMemory
	}
	return m.out, nil
}

// errNoMemory: every WASI program has one.
var errNoMemory = &CodeError{"the module must have one memory"}

func checkHeader(module []byte) error {
	switch {
	case len(module) < 8 || string(module[:4]) != "\x00asm":
		return &CodeError{"the code is no WebAssembly module: it does not begin with \\0asm"}
	case string(module[4:8]) == "\x0d\x00\x01\x00":
		return &CodeError{"the code is a WebAssembly component; compile it as a module for WASI preview 1 (wasip1)"}
	case string(module[4:8]) != "\x01\x00\x00\x00":
		return &CodeError{"the code is of an unknown version of WebAssembly; 1 is known"}
	}
	return nil
}

// metering is what one run of meter knows.
type metering struct {
	out       []byte
	params    []uint32 // by type: how many parameters
	functions []uint32 // the type of each function that the module defines
	globals   uint32   // how many the module has; so the number of the counter
	counted   bool     // the counter is written
	memories  int
	dataCount bool // instructions may name data segments by number
}

func (m *metering) section(id byte, body []byte) error {
	in := wasmReader{rest: body}
	if id > sectionGlobal && !m.counted {
		m.writeGlobals(&wasmReader{}, 0)
	}
	switch id {
	case sectionCustom:
		if name := string(in.take(in.u32())); in.err == nil && name == "name" {
			m.write(id, body)
		}
		return in.err
	case sectionType:
		m.readTypes(&in)
	case sectionImport:
		return readImports(&in, func() { m.write(id, body) })
	case sectionFunction:
		m.functions = in.numbers()
	case sectionTable:
		return m.tables(&in)
	case sectionMemory:
		return m.memory(&in)
	case sectionGlobal:
		count := in.u32()
		if in.err == nil {
			m.writeGlobals(&in, count)
		}
		return in.err
	case sectionCode:
		return m.code(&in)
	case sectionCounts:
		m.dataCount = true
	case sectionData:
		m.data(body)
		return nil
	}
	if in.err == nil {
		m.write(id, body)
	}
	return in.err
}

func (m *metering) write(id byte, body []byte) {
	m.out = append(m.out, id)
	m.out = appendU32(m.out, uint32(len(body))) //nolint:gosec // a module is some megabytes
	m.out = append(m.out, body...)
}

func (m *metering) readTypes(in *wasmReader) {
	for range in.count() {
		if in.byte() != 0x60 {
			_ = in.fail()
			return
		}
		params := in.u32()
		in.take(params)
		in.take(in.u32())
		m.params = append(m.params, params)
	}
}

// readImports refuses what is not a function: WASI has nothing else.
func readImports(in *wasmReader, accept func()) error {
	for range in.count() {
		module, name := string(in.take(in.u32())), string(in.take(in.u32()))
		kind := in.byte()
		if in.err == nil && kind != 0 {
			return &CodeError{"the module imports " + quoteName(module, name) + ", which is no function; WASI preview 1 has only functions"}
		}
		in.u32()
	}
	if in.err == nil {
		accept()
	}
	return in.err
}

// tables gives a maximum to tables that have none.
func (m *metering) tables(in *wasmReader) error {
	count := in.count()
	body := appendU32(nil, count)
	var total uint64
	for range count {
		kind, flags, least := in.byte(), in.byte(), in.u32()
		most := max(least, maxTable)
		if flags == 1 {
			most = min(in.u32(), most)
		}
		if flags > 1 || in.err != nil {
			return in.fail()
		}
		total += uint64(least)
		body = appendU32(appendU32(append(body, kind, 1), least), most)
	}
	if total > maxTable || count > 100 {
		return &CodeError{"the module's tables are too large"}
	}
	m.write(sectionTable, body)
	return nil
}

// memory removes the maximum.
func (m *metering) memory(in *wasmReader) error {
	count, flags, least := in.count(), in.byte(), in.u32()
	if in.err != nil || count != 1 {
		return errNoMemory
	}
	if flags > 1 {
		return &CodeError{"the module's memory is shared, or has 64-bit addresses; WASI preview 1 has neither"}
	}
	m.memories++
	m.write(sectionMemory, appendU32([]byte{1, 0}, least))
	return nil
}

// writeGlobals adds the counter to the count globals whose definitions in has.
func (m *metering) writeGlobals(in *wasmReader, count uint32) {
	m.globals, m.counted = count, true
	body := append(appendU32(nil, count+1), in.rest...)
	body = append(body, 0x7f, 1, opI32Const) // mutable, i32
	body = append(appendS32(body, fuel), opEnd)
	m.write(sectionGlobal, body)
}

func (m *metering) code(in *wasmReader) error {
	count := in.count()
	if in.err != nil || int(count) != len(m.functions) {
		return in.fail()
	}
	body := appendU32(nil, count)
	for i := range count {
		function, err := m.function(m.functions[i], in.take(in.u32()))
		if err != nil {
			return err
		}
		body = appendU32(body, uint32(len(function))) //nolint:gosec // a module is some megabytes
		body = append(body, function...)
	}
	m.write(sectionCode, body)
	return in.err
}
