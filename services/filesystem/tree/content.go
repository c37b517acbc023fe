package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// chunkSize is the unit in which content is read, hashed and left out if it is zero.
const chunkSize = 64 << 10

// contentHash hashes a file's chunks with their places. Those that are zero do not count, so that
// the hash does not depend on holes.
type contentHash struct{ hash.Hash }

func newContentHash() contentHash { return contentHash{sha256.New()} }

// chunk adds a chunk, and says whether it is not zero.
func (c contentHash) chunk(offset int64, data []byte) bool {
	if isZero(data) {
		return false
	}
	_ = binary.Write(c, binary.BigEndian, offset) // a hash takes everything
	_, _ = c.Write(data)
	return true
}

func (c contentHash) String() string { return string(c.Sum(nil)) }

func isZero(data []byte) bool {
	var zeros [4096]byte
	for len(data) > len(zeros) {
		if !bytes.Equal(data[:len(zeros)], zeros[:]) {
			return false
		}
		data = data[len(zeros):]
	}
	return bytes.Equal(data, zeros[:len(data)])
}

// extent is a part of a file that is not a hole.
type extent struct{ offset, length int64 }

// extents returns where a file has data, in whole chunks.
func extents(f *os.File, size int64) (found []extent, err error) {
	for at := int64(0); at < size; {
		data, err := f.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // no more
			break
		}
		if err != nil {
			return nil, err
		}
		hole, err := f.Seek(data, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		if data >= size {
			break
		}
		begin, end := max(data/chunkSize*chunkSize, at), min((hole+chunkSize-1)/chunkSize*chunkSize, size)
		if last := len(found) - 1; last >= 0 && found[last].offset+found[last].length == begin {
			found[last].length = end - found[last].offset
		} else {
			found = append(found, extent{begin, end - begin})
		}
		at = end
	}
	return found, nil
}

// total is how many bytes extents have.
func total(list []extent) (n int64) {
	for _, e := range list {
		n += e.length
	}
	return n
}

// copyExtent copies a part of a file that others may change meanwhile. What was cut off is zero.
func (a *archive) copyExtent(w io.Writer, f *os.File, e extent, sum contentHash, buffer []byte) (short bool, err error) {
	for at := e.offset; at < e.offset+e.length; at += chunkSize {
		if err := a.ctx.Err(); err != nil {
			return short, err
		}
		part := buffer[:min(chunkSize, e.offset+e.length-at)]
		n, err := f.ReadAt(part, at)
		if errors.Is(err, io.EOF) {
			clear(part[n:])
			short, err = n < len(part) || short, nil
		}
		if err != nil {
			return short, err
		}
		if sum.chunk(at, part) {
			a.counts[CountBytes] += int64(len(part))
		}
		if _, err := w.Write(part); err != nil {
			return short, err
		}
	}
	return short, nil
}
