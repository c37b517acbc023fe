package sandbox

import (
	"encoding/binary"
	"fmt"
)

// wasmReader reads the binary format of modules. After the first error it
// returns zeros.
type wasmReader struct {
	rest []byte
	err  error
}

// fail notes that the module is malformed.
func (r *wasmReader) fail() { r.refuse("the WebAssembly module is malformed") }

// refuse notes what is wrong with the module, as a *CodeError.
func (r *wasmReader) refuse(format string, args ...any) {
	if r.err == nil {
		r.err = &CodeError{fmt.Sprintf(format, args...)}
	}
	r.rest = nil
}

func (r *wasmReader) byte() byte {
	if len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// take returns the next n bytes.
func (r *wasmReader) take(n uint32) []byte {
	if uint64(n) > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

// u32 reads an unsigned number of 32 bits, LEB128.
func (r *wasmReader) u32() uint32 {
	number, length := binary.Uvarint(r.rest)
	if length <= 0 || length > 5 || number > 1<<32-1 {
		r.fail()
		return 0
	}
	r.rest = r.rest[length:]
	return uint32(number)
}

// s64 skips a signed number of up to 64 bits, LEB128; wazero refuses longer ones.
func (r *wasmReader) s64() {
	for range 10 {
		if r.byte() < 0x80 {
			return
		}
	}
	r.fail()
}

// count reads how many things follow, of which each takes a byte at least.
func (r *wasmReader) count() uint32 {
	n := r.u32()
	if uint64(n) > uint64(len(r.rest)) {
		r.fail()
		return 0
	}
	return n
}

// numbers reads a vector of unsigned numbers.
func (r *wasmReader) numbers() []uint32 {
	count := r.count()
	numbers := make([]uint32, 0, count)
	for range count {
		numbers = append(numbers, r.u32())
	}
	return numbers
}

// skip reads what has the form of its letters: an unsigned number, a signed one, a
// vector of numbers or of bytes, or so many bytes. It returns the last unsigned number.
func (r *wasmReader) skip(form string) (number uint32) {
	for _, letter := range form {
		switch letter {
		case 'u':
			number = r.u32()
		case 's':
			r.s64()
		case 'n':
			r.numbers()
		case 'v':
			r.take(r.u32())
		default:
			r.take(uint32(letter - '0')) //nolint:gosec // a digit
		}
	}
	return number
}

// appendBytes appends a vector of bytes.
func appendBytes(out, content []byte) []byte {
	return append(appendU32(out, uint32(len(content))), content...) //nolint:gosec // a module is some megabytes
}

func appendU32(out []byte, n uint32) []byte { return binary.AppendUvarint(out, uint64(n)) }

// appendS32 appends a signed number, LEB128, which package binary does not write.
func appendS32(out []byte, n int32) []byte {
	for {
		b := byte(n & 0x7f)
		n >>= 7
		if n == 0 && b&0x40 == 0 || n == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

func quoteName(module, name string) string { return fmt.Sprintf("%q of %q", name, module) }
