package sandbox

import "slices"

// Metering stops code at its time limit, and shares a worker's CPUs fairly among its
// calls. wazero can do both (WithCloseOnContextDone), but leaves the machine code for
// every iteration of every loop, which makes computations five times slower. Instead the
// module is rewritten:
//
//   - A global that the module's own code cannot name counts down at the head of every
//     loop, at the entry of every function that calls another, and by the length of what
//     the bulk instructions copy.
//   - At zero it starts again, and the code asks for more memory than can exist. That is
//     wazero's cheapest exit from machine code: it calls linearMemory.Reallocate, which
//     ends the call at its time limit, and where Go's scheduler may switch.
//
// So that the exit is always taken, the maximum that the module declares for its memory
// is removed; the call's limit holds. Tables without a maximum get one, since they are in
// Go's heap. Custom sections other than the names of functions are omitted.

// meterVersion is in the paths of compiled code. Change it when the output of meter
// changes.
const meterVersion = "meter3"

const (
	// fuel is the count from one safepoint to the next: some ten microseconds of the
	// fastest loop.
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
	in := &wasmReader{rest: module[8:]}
	for len(in.rest) > 0 && in.err == nil {
		id := in.byte()
		body := in.take(in.u32())
		if in.err == nil {
			in.err = m.section(id, body)
		}
	}
	if in.err == nil && !m.hasMemory {
		in.refuse(textMemoryMissing)
	}
	return m.out, in.err
}

// textMemoryMissing: every WASI program has one.
const textMemoryMissing = "the module must have one memory"

func checkHeader(module []byte) error {
	switch {
	case len(module) < 8 || string(module[:4]) != "\x00asm":
		return &CodeError{"the code is not a WebAssembly module: it does not begin with \\0asm"}
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
	hasMemory bool
	dataCount bool // instructions may name data segments by number
}

// section writes a section, rewritten where it has to be.
func (m *metering) section(id byte, body []byte) error {
	in := &wasmReader{rest: body}
	if id > sectionGlobal && !m.counted {
		m.write(sectionGlobal, m.countedGlobals(0, nil))
	}
	switch id {
	case sectionCustom:
		if string(in.take(in.u32())) != "name" {
			return in.err
		}
	case sectionType:
		m.readTypes(in)
	case sectionImport:
		readImports(in)
	case sectionFunction:
		m.functions = in.numbers()
	case sectionTable:
		body = boundedTables(in)
	case sectionMemory:
		body = m.unboundedMemory(in)
	case sectionGlobal:
		count := in.u32()
		body = m.countedGlobals(count, in.rest)
	case sectionCode:
		body = m.code(in)
	case sectionCounts:
		m.dataCount = true
	case sectionData:
		body = m.data(body)
	}
	if in.err == nil {
		m.write(id, body)
	}
	return in.err
}

func (m *metering) write(id byte, body []byte) {
	m.out = appendBytes(append(m.out, id), body)
}

func (m *metering) readTypes(in *wasmReader) {
	for range in.count() {
		if in.byte() != 0x60 {
			in.fail()
			return
		}
		params := in.u32()
		in.take(params)
		in.take(in.u32())
		m.params = append(m.params, params)
	}
}

// readImports refuses what is not a function: WASI has nothing else.
func readImports(in *wasmReader) {
	for range in.count() {
		module, name := string(in.take(in.u32())), string(in.take(in.u32()))
		if kind := in.byte(); kind != 0 {
			in.refuse("the module imports %s, which is not a function; WASI preview 1 has only functions", quoteName(module, name))
		}
		in.u32()
	}
}

// boundedTables gives a maximum to tables that have none.
func boundedTables(in *wasmReader) []byte {
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
			in.fail()
			return nil
		}
		total += uint64(least)
		body = appendU32(appendU32(append(body, kind, 1), least), most)
	}
	if total > maxTable || count > 100 {
		in.refuse("the module's tables are too large")
	}
	return body
}

// unboundedMemory removes the maximum.
func (m *metering) unboundedMemory(in *wasmReader) []byte {
	count, flags, least := in.count(), in.byte(), in.u32()
	switch {
	case in.err != nil || count != 1:
		in.err = &CodeError{textMemoryMissing}
	case flags > 1:
		in.refuse("the module's memory is shared, or has 64-bit addresses; WASI preview 1 has neither")
	}
	m.hasMemory = true
	return appendU32([]byte{1, 0}, least)
}

// countedGlobals adds the counter to the definitions of count globals.
func (m *metering) countedGlobals(count uint32, definitions []byte) []byte {
	m.globals, m.counted = count, true
	body := append(appendU32(nil, count+1), definitions...)
	body = append(body, 0x7f, 1, opI32Const) // mutable, i32
	return append(appendS32(body, fuel), opEnd)
}

func (m *metering) code(in *wasmReader) []byte {
	count := in.count()
	if int(count) != len(m.functions) {
		in.fail()
		return nil
	}
	body := appendU32(nil, count)
	for _, typ := range m.functions {
		function, err := m.function(typ, in.take(in.u32()))
		if err != nil && in.err == nil {
			in.err = err
		}
		if in.err != nil {
			return nil
		}
		body = appendBytes(body, function)
	}
	return body
}
