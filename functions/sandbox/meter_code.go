package sandbox

import "slices"

// The instructions that metering writes or looks for (WebAssembly specification
// 2.0, section 5.4).
const (
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI32LeS       = 0x4c
	opI32Sub       = 0x6b
	opI32ShrU      = 0x76
	opRefNull      = 0xd0
	opBulk         = 0xfc
	opVector       = 0xfd
	noType         = 0x40
)

// function rewrites the body of a function of a type.
func (m *metering) function(typ uint32, body []byte) ([]byte, error) {
	f := functionMetering{metering: m, in: &wasmReader{rest: body}}
	if int(typ) >= len(m.params) {
		f.in.fail()
		return nil, f.in.err
	}
	out := f.locals(m.params[typ])
	code := f.instructions()
	if f.calls {
		out = m.countDown(out)
	}
	return append(out, code...), f.in.err
}

// functionMetering is what is known of one function.
type functionMetering struct {
	*metering
	in    *wasmReader
	extra uint32 // the number of a local of our own, i32
	calls bool   // the function calls others, so it may be part of a recursion
}

// locals adds one local to the declared ones.
func (f *functionMetering) locals(params uint32) []byte {
	groups := f.in.count()
	before := f.in.rest
	total := uint64(params)
	for range groups {
		total += uint64(f.in.u32())
		f.in.byte()
	}
	if f.in.err != nil || total > 50_000 { // wazero's own limit
		f.in.fail()
		return nil
	}
	f.extra = uint32(total)
	out := append(appendU32(nil, groups+1), before[:len(before)-len(f.in.rest)]...)
	return append(out, 1, 0x7f)
}

// instructions copies them up to the end of the function, and adds to some.
func (f *functionMetering) instructions() (out []byte) {
	for len(f.in.rest) > 0 {
		start := f.in.rest
		op := f.in.byte()
		if op == opBulk {
			out = f.chargeBulk(out)
		}
		f.immediates(op)
		out = append(out, start[:len(start)-len(f.in.rest)]...)
		if op == opLoop {
			out = f.countDown(out)
		}
	}
	return out
}

// countDown writes: counter--; if counter <= 0 { counter = fuel; safepoint }.
func (m *metering) countDown(out []byte) []byte {
	get, set := appendU32([]byte{opGlobalGet}, m.globals), appendU32([]byte{opGlobalSet}, m.globals)
	out = append(append(out, get...), opI32Const, 1, opI32Sub)
	out = append(append(out, set...), get...)
	out = append(out, opI32Const, 0, opI32LeS, opIf, noType)
	out = append(appendS32(append(out, opI32Const), fuel), set...)
	out = appendS32(append(out, opI32Const), safepointPages)
	return append(out, opMemoryGrow, 0, opDrop, opEnd)
}

// chargeBulk takes the length of a bulk instruction, which is on the top of the
// stack and stays there, off the counter: one for 1024 bytes or for 16 entries.
func (f *functionMetering) chargeBulk(out []byte) []byte {
	peek := *f.in
	shift := byte(10)
	switch peek.u32() {
	case 8, 10, 11: // memory.init, memory.copy, memory.fill
	case 12, 14, 17: // table.init, table.copy, table.fill
		shift = 4
	default:
		return out
	}
	out = appendU32(append(out, opLocalTee), f.extra)
	out = appendU32(append(out, opGlobalGet), f.globals)
	out = appendU32(append(out, opLocalGet), f.extra)
	out = append(out, opI32Const, shift, opI32ShrU, opI32Sub)
	return appendU32(append(out, opGlobalSet), f.globals)
}

// immediates reads what follows op.
func (f *functionMetering) immediates(op byte) {
	forms, code := plainForms[:], uint32(op)
	switch op {
	case opBulk:
		forms, code = bulkForms[:], f.in.u32()
	case opVector:
		forms, code = vectorForms[:], f.in.u32()
	}
	at := slices.IndexFunc(forms, func(row immediateForm) bool { return code >= row.first && code <= row.last })
	if at < 0 {
		f.in.refuse("the module has an instruction (%#x %#x) that is not in WebAssembly 2.0", op, code)
		return
	}
	number := f.in.skip(forms[at].form)
	switch op {
	case opCall, opCallIndirect:
		f.calls = true
	case opGlobalGet, opGlobalSet:
		if number >= f.globals { // the counter is not the module's
			f.in.fail()
		}
	case opLocalGet, opLocalSet, opLocalTee:
		if number >= f.extra { // neither is the extra local
			f.in.fail()
		}
	}
}

// immediateForm is the form, in skip's letters, of what follows the instructions from
// first to last.
type immediateForm struct {
	first, last uint32
	form        string
}

var plainForms = [...]immediateForm{
	{0x20, 0x26, "u"},                   // locals, globals, table.get, table.set
	{0x45, 0xc4, ""},                    // comparisons, arithmetic, conversions
	{0x28, 0x3e, "uu"},                  // loads and stores
	{0x41, 0x42, "s"},                   // i32.const, i64.const
	{0x0c, 0x0d, "u"},                   // br, br_if
	{0x10, 0x10, "u"},                   // call
	{0x0b, 0x0b, ""},                    // end
	{0x02, 0x04, "s"},                   // block, loop, if: the type
	{0x00, 0x01, ""},                    // unreachable, nop
	{0x05, 0x05, ""},                    // else
	{0x0e, 0x0e, "nu"},                  // br_table
	{0x0f, 0x0f, ""},                    // return
	{0x11, 0x11, "uu"},                  // call_indirect
	{0x1a, 0x1b, ""},                    // drop, select
	{0x1c, 0x1c, "v"},                   // select with types
	{0x3f, 0x40, "1"},                   // memory.size, memory.grow
	{0x43, 0x43, "4"},                   // f32.const
	{0x44, 0x44, "8"},                   // f64.const
	{0xd0, 0xd0, "1"},                   // ref.null
	{0xd1, 0xd1, ""}, {0xd2, 0xd2, "u"}, // ref.is_null, ref.func
}

var bulkForms = [...]immediateForm{
	{0, 7, ""},     // saturating truncations
	{8, 8, "u1"},   // memory.init
	{9, 9, "u"},    // data.drop
	{10, 10, "11"}, // memory.copy
	{11, 11, "1"},  // memory.fill
	{12, 12, "uu"}, // table.init
	{13, 13, "u"},  // elem.drop
	{14, 14, "uu"}, // table.copy
	{15, 17, "u"},  // table.grow, table.size, table.fill
}

var vectorForms = [...]immediateForm{
	{0, 11, "uu"},  // loads and stores
	{12, 13, "88"}, // v128.const, i8x16.shuffle
	{14, 20, ""},
	{21, 34, "1"}, // lanes
	{35, 83, ""},
	{84, 91, "uu1"}, // loads and stores of lanes
	{92, 93, "uu"},  // loads and stores
	{94, 0xff, ""},
}
