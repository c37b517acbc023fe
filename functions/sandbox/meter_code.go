package sandbox

import "fmt"

// The instructions that metering writes or looks for (WebAssembly specification
// 2.0, section 5.4).
const (
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opBrTable      = 0x0e
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32LeS       = 0x4c
	opI32Sub       = 0x6b
	opI32ShrU      = 0x76
	opRefNull      = 0xd0
	opRefFunc      = 0xd2
	opBulk         = 0xfc
	opVector       = 0xfd
	noType         = 0x40
)

// function rewrites the body of a function of a type.
func (m *metering) function(typ uint32, body []byte) ([]byte, error) {
	in := wasmReader{rest: body}
	if int(typ) >= len(m.params) {
		return nil, in.fail()
	}
	f := functionMetering{metering: m, in: in}
	out := f.locals(m.params[typ])
	code, err := f.instructions()
	if err != nil {
		return nil, err
	}
	if f.calls {
		out = m.countDown(out)
	}
	return append(out, code...), nil
}

// functionMetering is what is known of one function.
type functionMetering struct {
	*metering
	in    wasmReader
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
		_ = f.in.fail()
		return nil
	}
	f.extra = uint32(total)
	out := append(appendU32(nil, groups+1), before[:len(before)-len(f.in.rest)]...)
	return append(out, 1, 0x7f)
}

// instructions copies them up to the end of the function, and adds to some.
func (f *functionMetering) instructions() ([]byte, error) {
	var out []byte
	for len(f.in.rest) > 0 && f.in.err == nil {
		start := f.in.rest
		op := f.in.byte()
		if op == opBulk {
			out = f.chargeBulk(out)
		}
		if err := f.immediates(op); err != nil {
			return nil, err
		}
		if f.in.err != nil {
			break
		}
		out = append(out, start[:len(start)-len(f.in.rest)]...)
		if op == opLoop {
			out = f.countDown(out)
		}
	}
	return out, f.in.failure()
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
	peek := f.in
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
func (f *functionMetering) immediates(op byte) error {
	in := &f.in
	switch {
	case op >= 0x02 && op <= opIf: // block, loop, if: the type
		in.s64()
	case op == 0x0c || op == 0x0d: // br, br_if
		in.u32()
	case op == opBrTable:
		in.numbers()
		in.u32()
	case op == opCall:
		f.calls = true
		in.u32()
	case op == opCallIndirect:
		f.calls = true
		in.u32()
		in.u32()
	case op == opSelectTyped:
		in.take(in.u32())
	case op == opGlobalGet || op == opGlobalSet:
		if number := in.u32(); number >= f.globals {
			_ = in.fail() // the counter is not the module's
		}
	case op >= opLocalGet && op <= opLocalTee:
		if number := in.u32(); number >= f.extra {
			_ = in.fail() // neither is the extra local
		}
	case op == 0x25 || op == 0x26: // table.get, table.set
		in.u32()
	case op >= 0x28 && op <= 0x3e: // loads and stores
		in.u32()
		in.u32()
	case op == 0x3f || op == opMemoryGrow:
		in.byte()
	case op == opI32Const || op == opI64Const:
		in.s64()
	case op == opF32Const:
		in.take(4)
	case op == opF64Const:
		in.take(8)
	case op == opRefNull:
		in.byte()
	case op == opRefFunc:
		in.u32()
	case op == opBulk:
		return f.bulkImmediates(in.u32())
	case op == opVector:
		return f.vectorImmediates(in.u32())
	case op <= 0x01, op == 0x05, op == opEnd, op == 0x0f, op == opDrop, op == 0x1b, op >= 0x45 && op <= 0xc4, op == 0xd1:
	default:
		return unknownInstruction(op, 0)
	}
	return nil
}

func (f *functionMetering) bulkImmediates(op uint32) error {
	in := &f.in
	switch op {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating truncations
	case 8: // memory.init
		in.u32()
		in.byte()
	case 9, 13, 15, 16, 17: // data.drop, elem.drop, table.grow, table.size, table.fill
		in.u32()
	case 10: // memory.copy
		in.take(2)
	case 11: // memory.fill
		in.byte()
	case 12, 14: // table.init, table.copy
		in.u32()
		in.u32()
	default:
		return unknownInstruction(opBulk, op)
	}
	return nil
}

func (f *functionMetering) vectorImmediates(op uint32) error {
	in := &f.in
	switch {
	case op <= 11 || op == 92 || op == 93: // loads and stores
		in.u32()
		in.u32()
	case op == 12 || op == 13: // v128.const, i8x16.shuffle
		in.take(16)
	case op >= 21 && op <= 34: // lanes
		in.byte()
	case op >= 84 && op <= 91: // loads and stores of lanes
		in.u32()
		in.u32()
		in.byte()
	case op > 0xff:
		return unknownInstruction(opVector, op)
	}
	return nil
}

func unknownInstruction(op byte, sub uint32) error {
	return &CodeError{fmt.Sprintf("the module has an instruction (%#x %#x) that is not in WebAssembly 2.0", op, sub)}
}
