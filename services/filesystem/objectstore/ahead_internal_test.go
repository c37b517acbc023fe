package objectstore

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

// What is read ahead is what was sent, up to the reader's own error.
func TestAhead(t *testing.T) {
	broken := errors.New("connection reset")
	for _, size := range []int{0, 1, aheadSize - 1, aheadSize, 5*aheadSize + 7} {
		content := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(content)
		for name, r := range map[string]io.Reader{
			"whole": bytes.NewReader(content), "in halves": iotest.HalfReader(bytes.NewReader(content)),
			"cut": io.MultiReader(bytes.NewReader(content), iotest.ErrReader(broken)),
		} {
			a := newAhead(r)
			got, err := io.ReadAll(a)
			if !bytes.Equal(got, content) || (name == "cut") != errors.Is(err, broken) {
				t.Errorf("%s, %d bytes: %d bytes, %v", name, size, len(got), err)
			}
			a.close()
		}
	}
	a := newAhead(iotest.OneByteReader(bytes.NewReader(make([]byte, 10*aheadSize))))
	a.close()
	if _, err := io.Copy(io.Discard, a); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("after close: %v", err)
	}
}
