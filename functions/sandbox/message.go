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
const (
	maxFrame  = 256 << 20
	maxHeader = 16 << 20
)

var errFrame = errors.New("a message between the pool and a worker has another form than expected")

// message is what the pool and its workers say to each other. One of the
// pointers is set, or Cancel.
type message struct {
	// ID is the request's; the reply bears the same. 0 is no request's.
	ID uint64 `json:"id,omitempty"`

	// To the worker.
	Settings *settings       `json:"settings,omitempty"` // the first message
	Run      *runRequest     `json:"run,omitempty"`      // body: Call.Input
	Check    bool            `json:"check,omitempty"`    // of a script's syntax; body: the script
	Compile  *compileRequest `json:"compile,omitempty"`
	Forget   string          `json:"forget,omitempty"` // a hash
	Cancel   bool            `json:"cancel,omitempty"`

	// From the worker.
	Ran     *runReply  `json:"ran,omitempty"` // body: Outcome.Result, Output, Logs
	Checked *codeReply `json:"checked,omitempty"`
	// Overhead is how much memory the worker holds beside its calls' own.
	Overhead int64 `json:"overhead,omitempty"`

	body []byte
}

// settings are what a worker works with.
type settings struct {
	Folder string `json:"folder"`
	// Build is the pool's buildName: what its workers compile, it finds.
	Build string `json:"build"`
	// Memory, Overhead and CodeMemory are the worker's part of what Options
	// say.
	Memory     int64 `json:"memory"`
	Overhead   int64 `json:"overhead"`
	CodeMemory int64 `json:"code_memory"`
	// Concurrency is how many calls the worker may be given at once.
	Concurrency int `json:"concurrency"`
	// Compiler says that the worker compiles one module and then ends. It has
	// CompileSeconds of CPU time and Memory for that.
	Compiler       bool  `json:"compiler,omitempty"`
	CompileSeconds int64 `json:"compile_seconds,omitempty"`
}

// runRequest is a Call without its input and the code itself, which the worker
// finds in the folder.
type runRequest struct {
	Hash   string            `json:"hash"`
	Kind   Kind              `json:"kind"`
	CGI    bool              `json:"cgi,omitempty"`
	Env    map[string]string `json:"env,omitempty"`
	Mounts []Mount           `json:"mounts,omitempty"`
	Limits Limits            `json:"limits"`
}

type compileRequest struct {
	Hash string `json:"hash"`
	// From is a folder with the module; Into is a folder, which exists and is
	// empty, for what can be published.
	From string `json:"from"`
	Into string `json:"into"`
}

// runReply is an Outcome, or says that the code has to be compiled first.
type runReply struct {
	Status   Status        `json:"status,omitempty"`
	Result   int           `json:"result,omitempty"` // length, in bytes
	Output   int           `json:"output,omitempty"` // length, in bytes
	Cold     bool          `json:"cold,omitempty"`
	Started  int64         `json:"started"` // Unix time, nanoseconds: when the worker took the call
	Init     time.Duration `json:"init,omitempty"`
	Duration time.Duration `json:"duration"`
	absent
}

// codeReply says what came of a compilation or a check.
type codeReply struct {
	Refused string `json:"refused,omitempty"` // what is wrong with the user's code
	Failed  string `json:"failed,omitempty"`  // what else went wrong
	absent
}

// absent names code that has to be compiled before the request can be carried
// out.
type absent struct {
	// Hash is of the code, or of the JavaScript engine.
	Hash string `json:"absent,omitempty"`
	// Corrupt says that the folder has it, but damaged.
	Corrupt bool `json:"corrupt,omitempty"`
}

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
	if len(header) > maxHeader || 4+len(header)+len(m.body) > maxFrame {
		return fmt.Errorf("%w: it is too long", errFrame)
	}
	frame := make([]byte, 0, 8+len(header)+len(m.body))
	frame = binary.BigEndian.AppendUint32(frame, uint32(4+len(header)+len(m.body))) //nolint:gosec // at most maxFrame
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(header)))               //nolint:gosec // at most maxHeader
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
	if frame > maxFrame || header > maxHeader || frame < 4+header {
		return message{}, errFrame
	}
	// What is not there yet takes no memory, whatever the length says.
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

// appendLogs is the form of log lines in a body: for each its time (Unix,
// nanoseconds, 8 bytes), 1 or 2 for the stream, the length (4 bytes), the text.
func appendLogs(body []byte, lines []LogLine) []byte {
	for _, line := range lines {
		stream := byte(1)
		if line.Stream == stderr {
			stream = 2
		}
		body = binary.BigEndian.AppendUint64(body, uint64(line.Time.UnixNano())) //nolint:gosec // back and forth
		body = append(body, stream)
		body = binary.BigEndian.AppendUint32(body, uint32(len(line.Text))) //nolint:gosec // at most maxFrame
		body = append(body, line.Text...)
	}
	return body
}

func readLogs(body []byte) ([]LogLine, error) {
	const head = 8 + 1 + 4
	var lines []LogLine
	for len(body) > 0 {
		if len(body) < head {
			return nil, errFrame
		}
		at := time.Unix(0, int64(binary.BigEndian.Uint64(body))).UTC() //nolint:gosec // back and forth
		length := int64(binary.BigEndian.Uint32(body[9:]))
		stream := map[byte]string{1: stdout, 2: stderr}[body[8]]
		if int64(len(body)-head) < length || stream == "" {
			return nil, errFrame
		}
		lines = append(lines, LogLine{Time: at, Stream: stream, Text: string(body[head : head+length])})
		body = body[head+length:]
	}
	return lines, nil
}
