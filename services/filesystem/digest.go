package filesystem

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"slices"
)

// Digest is a hash of what a copy contains (services.Contents). It is the sum of the hashes of the
// items, so that it does not depend on their order.
type Digest [sha256.Size]byte

// Add adds an item, which has the fields.
func (d *Digest) Add(fields ...string) {
	item := sha256.New()
	for _, text := range fields {
		_ = binary.Write(item, binary.BigEndian, int64(len(text))) // a hash takes everything
		_, _ = io.WriteString(item, text)
	}
	carry := 0
	for i, b := range slices.Backward(item.Sum(nil)) {
		carry += int(d[i]) + int(b)
		d[i], carry = byte(carry&0xff), carry>>8
	}
}

// String returns the digest in the form in which it is stored.
func (d *Digest) String() string { return hex.EncodeToString(d[:]) }
