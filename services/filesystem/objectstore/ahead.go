package objectstore

import "io"

const (
	aheadBuffers = 4
	aheadSize    = 256 << 10
)

// ahead reads a download in the background, so that the network does not wait while what came is
// hashed and written.
type ahead struct {
	full, free chan []byte
	end        error // once full is closed
	stop       chan struct{}
	now, rest  []byte
}

func newAhead(from io.Reader) *ahead {
	a := &ahead{full: make(chan []byte, aheadBuffers), free: make(chan []byte, aheadBuffers), stop: make(chan struct{})}
	for range aheadBuffers {
		a.free <- make([]byte, aheadSize)
	}
	go a.read(from)
	return a
}

func (a *ahead) read(from io.Reader) {
	defer close(a.full)
	for {
		buffer, ok := a.next()
		if !ok {
			a.end = io.ErrClosedPipe
			return
		}
		n, err := io.ReadFull(from, buffer)
		if n > 0 {
			a.full <- buffer[:n] // there is room for all buffers
		}
		if err == io.ErrUnexpectedEOF { //nolint:errorlint // ReadFull's own, and not one of the reader's
			err = io.EOF
		}
		if err != nil {
			a.end = err
			return
		}
	}
}

// next waits for a free buffer; ok is false after close.
func (a *ahead) next() (buffer []byte, ok bool) {
	select {
	case <-a.stop:
		return nil, false
	default:
	}
	select {
	case <-a.stop:
		return nil, false
	case buffer := <-a.free:
		return buffer, true
	}
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.now != nil {
			a.free <- a.now[:cap(a.now)]
			a.now = nil
		}
		buffer, more := <-a.full
		if !more {
			return 0, a.end
		}
		a.now, a.rest = buffer, buffer
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// close ends the reading, once the download is closed.
func (a *ahead) close() { close(a.stop) }
