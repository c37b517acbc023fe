package sandbox

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Go's linker writes thousands of data segments, to omit zeros. Their allocations are a
// fifth of the start of a Go program, so metering joins those that are near each other.

// maxGap is how many zeros are put between two segments to make them one.
const maxGap = 4096

// segment is an active data segment with a constant place.
type segment struct {
	at      uint32
	content []byte
}

// data returns the data section, with joined segments if that changes nothing.
func (m *metering) data(body []byte) []byte {
	segments := readSegments(body)
	if segments == nil || m.dataCount {
		return body
	}
	joined := segments[:1]
	for _, next := range segments[1:] {
		last := &joined[len(joined)-1]
		end := uint64(last.at) + uint64(len(last.content))
		if uint64(next.at) < end || uint64(next.at)-end > maxGap {
			joined = append(joined, next)
			continue
		}
		last.content = append(last.content, make([]byte, uint64(next.at)-end)...)
		last.content = append(last.content, next.content...)
	}
	out := appendU32(nil, uint32(len(joined))) //nolint:gosec // fewer than before
	for _, s := range joined {
		out = append(appendS32(append(out, 0, opI32Const), int32(s.at)), opEnd) //nolint:gosec // the same bits
		out = appendBytes(out, s.content)
	}
	return out
}

// readSegments returns the segments by place; nil if some overlap, so that their own order
// counts, or have no constant place.
func readSegments(body []byte) []segment {
	in := wasmReader{rest: body}
	var segments []segment
	for range in.count() {
		active, op := in.u32(), in.byte()
		at, known := in.s32()
		last := in.byte()
		content := in.take(in.u32())
		if in.err != nil || active != 0 || op != opI32Const || !known || last != opEnd {
			return nil
		}
		segments = append(segments, segment{at: at, content: content[:len(content):len(content)]})
	}
	if len(in.rest) > 0 {
		return nil
	}
	slices.SortStableFunc(segments, func(a, b segment) int { return cmp.Compare(a.at, b.at) })
	var end uint64
	for _, s := range segments {
		if uint64(s.at) < end {
			return nil
		}
		end = uint64(s.at) + uint64(len(s.content))
	}
	return segments
}

// s32 reads a signed number of 32 bits as the unsigned one of the same bits.
func (r *wasmReader) s32() (number uint32, known bool) {
	raw, length := binary.Uvarint(r.rest)
	if length <= 0 || length > 5 {
		return 0, false
	}
	shift := min(32, 7*length)
	r.rest = r.rest[length:]
	return uint32(int32(raw<<(32-shift)) >> (32 - shift)), true //nolint:gosec // that is sign extension
}
