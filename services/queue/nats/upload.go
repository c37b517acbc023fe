package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	restoreSubject     = "$JS.API.STREAM.RESTORE."
	restoreDataSubject = "$JS.SNAPSHOT.RESTORE."
	// unanswered is how many parts are on their way to the server.
	unanswered = 16
	// breath is how soon something is sent when the store is slow: the server gives up after 5 s.
	breath = 2 * time.Second
	// finishing is how long a server may take to complete a stream after its last part.
	finishing = 10 * time.Minute
)

// upload sends a stream's copy to the server. It always holds back something, to send that in
// small parts while the store is slow.
type upload struct {
	ctx     context.Context //nolint:containedctx // of Restore, which is behind the io.Writer
	v       *visit
	stream  string
	request []byte
	chunk   int

	mu      sync.Mutex
	subject string // where the server expects the data; empty: not begun
	held    []byte
	waiting int // parts without an answer
	last    time.Time
	err     error
	stop    chan struct{}
}

func (v *visit) upload(ctx context.Context, stream string, config json.RawMessage, payload int64) (*upload, error) {
	request, err := json.Marshal(map[string]any{"config": config})
	if err != nil {
		return nil, doing("encode the stream's configuration", err)
	}
	return &upload{ctx: ctx, v: v, stream: stream, request: request, stop: make(chan struct{}),
		chunk: int(min(chunkSize, payload, v.conn.MaxPayload()))}, nil
}

// Write implements io.Writer.
func (u *upload) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.subject == "" && u.err == nil {
		u.err = u.begin()
	}
	u.held = append(u.held, p...)
	for u.err == nil && len(u.held) > u.chunk {
		u.push(u.chunk)
	}
	if u.err != nil {
		return 0, u.err
	}
	return len(p), nil
}

// begin asks the server for the stream.
func (u *upload) begin() error {
	if err := u.v.send(restoreSubject+u.stream, u.request); err != nil {
		return err
	}
	m, err := u.v.next(u.ctx, silence)
	if err != nil {
		return err
	}
	if err := refusal(m.Data); err != nil {
		return err
	}
	var answer struct {
		Subject string `json:"deliver_subject"`
	}
	if json.Unmarshal(m.Data, &answer) != nil || !strings.HasPrefix(answer.Subject, restoreDataSubject+u.stream+".") {
		return errNonsense
	}
	u.subject, u.last = answer.Subject, time.Now()
	go u.breathe()
	return nil
}

// push sends the first n held bytes.
func (u *upload) push(n int) {
	for u.err == nil && u.waiting >= unanswered {
		u.await()
	}
	if u.err == nil {
		u.err = u.v.send(u.subject, u.held[:n])
	}
	u.held = append(u.held[:0], u.held[n:]...)
	u.waiting++
	u.last = time.Now()
}

// await takes the answer to one part.
func (u *upload) await() {
	m, err := u.v.next(u.ctx, silence)
	if err == nil {
		err = refusal(m.Data)
	}
	u.waiting--
	u.err = errors.Join(u.err, err)
}

// breathe sends a byte now and then while nothing else is sent.
func (u *upload) breathe() {
	for {
		select {
		case <-u.stop:
			return
		case <-time.After(breath / 2):
		}
		u.mu.Lock()
		if u.err == nil && len(u.held) > 1 && time.Since(u.last) > breath {
			u.push(1)
		}
		u.mu.Unlock()
	}
}

// finish sends the rest, and returns the server's answer about the restored stream.
func (u *upload) finish() ([]byte, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.stop)
	if u.subject == "" && u.err == nil {
		u.err = errors.New("the copy of the stream is empty")
	}
	for u.err == nil && len(u.held) > 0 {
		u.push(min(len(u.held), u.chunk))
	}
	for u.err == nil && u.waiting > 0 {
		u.await()
	}
	if u.err != nil {
		u.abort()
		return nil, u.err
	}
	return u.end(u.ctx, finishing)
}

// end tells the server that there is no more, and waits for its answer.
func (u *upload) end(ctx context.Context, wait time.Duration) ([]byte, error) {
	if err := u.v.send(u.subject, nil); err != nil {
		return nil, err
	}
	for {
		m, err := u.v.next(ctx, wait)
		if err != nil {
			return nil, fmt.Errorf("wait until the server has restored the stream: %w", err)
		}
		if len(m.Data) > 0 { // not the answer to a part
			return m.Data, refusal(m.Data)
		}
	}
}

// fail gives the upload up.
func (u *upload) fail() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.stop)
	u.abort()
}

// abort makes the server give up at once: otherwise it waits for more, and holds the stream.
func (u *upload) abort() {
	if u.subject == "" || !u.v.conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(u.ctx), quiet)
	defer cancel()
	_, _ = u.end(ctx, quiet) // the caller's error says why
}
