package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzResult: whatever a guest writes, the result is a JSON object, valid UTF-8,
// not longer than allowed where it is the guest's, and logs keep their limit.
func FuzzResult(f *testing.F) {
	for _, seed := range []string{"", "\n\n", "{}", "log\n{\"a\":1}\n", "{\"error\":1}", "{\n \"a\":\n1}\n", "{\xff\n", "[1]", "{\"a\":\"\xff\"}\n \r\n", strings.Repeat("x", 200)} {
		f.Add([]byte(seed), 3)
	}
	const limit = 100
	f.Fuzz(func(t *testing.T, output []byte, chunk int) {
		log := &logs{limit: 1000}
		found := &answers{limit: limit, logs: log}
		out := &lineWriter{longest: max(limit, shown), take: found.add}
		for rest := output; len(rest) > 0; {
			n := min(max(1, chunk), len(rest))
			if written, err := out.Write(rest[:n]); written != n || err != nil {
				t.Fatalf("written %d of %d, %v", written, n, err)
			}
			rest = rest[n:]
		}
		out.flush()
		o := found.outcome()
		status, result := o.Status, o.Result
		var object map[string]json.RawMessage
		if err := json.Unmarshal(result, &object); (err != nil && !isAnswer(result)) || !utf8.Valid(result) {
			t.Errorf("result %q: %v", result, err)
		}
		_, failed := object["error"]
		if failed == (status == Success) {
			t.Errorf("%s: %q", status, result)
		}
		if status == Success && len(result) > 2*limit {
			t.Errorf("a result of %d bytes", len(result))
		}
		if len(found.lines) > 0 {
			t.Errorf("lines that are in no log: %v", found.lines)
		}
		var size int64
		for _, line := range log.lines {
			size += prefix + int64(len(strings.ReplaceAll(line.Text, "\uFFFD", "x")))
			if !utf8.ValidString(line.Text) || strings.Contains(line.Text, "\n") {
				t.Errorf("line %q", line.Text)
			}
		}
		if size > log.limit && !log.cut {
			t.Errorf("%d bytes of log", size)
		}
	})
}

// FuzzMessage: what comes through a pipe never breaks the other end, and what is
// understood comes out as it went in.
func FuzzMessage(f *testing.F) {
	var buffer bytes.Buffer
	l := &link{out: &buffer}
	for _, m := range []message{
		{ID: 1, Cancel: true}, {Settings: &settings{Options: Options{Folder: "/x", Memory: 5}}},
		{ID: 2, Run: &Call{Code: Code{Hash: "a"}, Env: map[string]string{"A": "b"}, Mounts: []Mount{{Path: "/d"}}}, body: []byte("{}")},
		{ID: 3, Ran: &Outcome{Status: Success, Logs: []LogLine{{Time: time.Unix(1, 2), Stream: stdout, Text: "x"}}}, body: []byte("{}")},
	} {
		buffer.Reset()
		if err := l.send(m); err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Clone(buffer.Bytes()))
	}
	f.Add([]byte{255, 255, 255, 255, 0, 0, 0, 0})
	f.Add([]byte{0x0f, 255, 255, 255, 0, 0, 0, 1, '{'})
	f.Fuzz(func(t *testing.T, content []byte) {
		in := &link{in: bytes.NewReader(content)}
		m, err := in.receive()
		if err != nil {
			if !errors.Is(err, errFrame) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("error %v", err)
			}
			return
		}
		if m.Ran != nil {
			_ = m.outcome(false, time.Now(), 0)
		}
		var again bytes.Buffer
		if err := (&link{out: &again}).send(m); err != nil {
			t.Fatal(err)
		}
		second, err := (&link{in: &again}).receive()
		if diff := cmp.Diff(m, second, cmp.AllowUnexported(message{})); diff != "" || err != nil {
			t.Errorf("%v, (-first +second): %s", err, diff)
		}
	})
}

// FuzzMeter: a module that metering takes is one that can be read again.
func FuzzMeter(f *testing.F) {
	f.Add(wasmModule{bodies: [][]byte{body(opLoop, noType, 0x0c, 0, opEnd)}}.bytes())
	f.Add(wasmModule{table: []byte{0, 1}, globals: [][]byte{{0x7f, 0, opI32Const, 1, opEnd}}, bodies: [][]byte{body(opCall, 0)}}.bytes())
	f.Add([]byte("\x00asm\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, module []byte) {
		metered, err := meter(module)
		refused := new(CodeError)
		if err != nil {
			if !errors.As(err, &refused) {
				t.Errorf("error %v is not the user's", err)
			}
			return
		}
		if _, err := meter(metered); err != nil {
			t.Errorf("metered once, and not twice: %v", err)
		}
	})
}

// FuzzParseCGI: the answer is one that net/http can send.
func FuzzParseCGI(f *testing.F) {
	f.Add([]byte("Status: 404 Not Found\nContent-Type: a/b\n\nbody"))
	f.Add([]byte("Location: /x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		answer, err := ParseCGI(output)
		if err == nil && (answer.Status < 200 || answer.Status > 599 || answer.Header == nil) {
			t.Errorf("%+v", answer)
		}
	})
}
