package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// A frame is the length of the rest (4 bytes, big-endian), the length of the
// header (4 bytes), the header (a message as JSON), the body.
const maxFrame = 256 << 20

var errFrame = errors.New("a message between the pool and a worker has another form than expected")

// message is what the pool and its workers send each other.
type message struct {
	// ID is the request's; the reply has the same. 0 is no request's.
	ID uint64 `json:"id,omitempty"`

	// To the worker: one of these.
	Settings *settings       `json:"settings,omitempty"` // the first message
	Run      *Call           `json:"run,omitempty"`      // body: Call.Input
	Check    bool            `json:"check,omitempty"`    // of a script's syntax; body: the script
	Compile  *compileRequest `json:"compile,omitempty"`
	Forget   string          `json:"forget,omitempty"` // a hash
	Cancel   bool            `json:"cancel,omitempty"`

	// From the worker: one of these, or none after a successful compilation or check.
	Ran     *Outcome     `json:"ran,omitempty"`     // body: Outcome.Result or Outcome.Output
	Missing *notCompiled `json:"missing,omitempty"` // the request needs this code
	Refused *CodeError   `json:"refused,omitempty"`
	Failed  string       `json:"failed,omitempty"` // what else went wrong
	// Started is when the worker took the request.
	Started time.Time `json:"started,omitzero"`
	// Overhead is how much memory the worker holds beside its calls' own.
	Overhead int64 `json:"overhead,omitempty"`

	body []byte
}

// replyOf is the reply of a request that ended with err.
func replyOf(err error) (m message) {
	if err != nil && !errors.As(err, &m.Missing) && !errors.As(err, &m.Refused) {
		m.Failed = err.Error()
	}
	return m
}

// err is the error of a compilation or check.
func (m message) err() error {
	switch {
	case m.Refused != nil:
		return m.Refused
	case m.Failed != "":
		return errors.New(m.Failed)
	}
	return nil
}

// settings are a worker's part of the pool's Options.
type settings struct {
	Options
	// Build is the pool's buildName: it finds what its workers compile.
	Build string
	// CompileSeconds is the CPU time of a worker that compiles one module; 0 for one that
	// runs calls.
	CompileSeconds int64
}

// compileRequest asks for the module of a hash in Folder, a folder that store.fresh made.
type compileRequest struct{ Hash, Folder string }

// link carries messages. Sending is safe for concurrent use, receiving is one
// goroutine's.
type link struct {
	in io.Reader

	mu  sync.Mutex
	out io.Writer
}

func (l *link) send(m message) error {
	header, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	length := 4 + len(header) + len(m.body)
	if length > maxFrame {
		return fmt.Errorf("%w: it is too long", errFrame)
	}
	frame := make([]byte, 0, 4+length)
	frame = binary.BigEndian.AppendUint32(frame, uint32(length))      //nolint:gosec // at most maxFrame
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header))) //nolint:gosec // at most maxFrame
	frame = append(append(frame, header...), m.body...)
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.out.Write(frame)
	return err
}

// receive returns io.EOF when the other side has closed its end between two
// messages.
func (l *link) receive() (message, error) {
	var lengths [8]byte
	if _, err := io.ReadFull(l.in, lengths[:]); err != nil {
		return message{}, err
	}
	frame := int64(binary.BigEndian.Uint32(lengths[:4]))
	header := int64(binary.BigEndian.Uint32(lengths[4:]))
	if frame > maxFrame || frame < 4+header {
		return message{}, errFrame
	}
	// Memory is taken for what arrives, not for what the length announces.
	content, err := io.ReadAll(io.LimitReader(l.in, frame-4))
	if err != nil {
		return message{}, err
	}
	if int64(len(content)) != frame-4 {
		return message{}, io.ErrUnexpectedEOF
	}
	var m message
	if err := json.Unmarshal(content[:header], &m); err != nil {
		return message{}, errFrame // the decoder's error would quote what may be secret
	}
	m.body = content[header:]
	return m, nil
}
