package nats

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	chunkSize  = 64 << 10
	windowSize = 1 << 20 // sent without an acknowledgement
	// buffered is how many chunks wait for a slow store: 16 MB.
	buffered = 256
	// prompt is how many of them may wait before the server is slowed down: then a part is
	// acknowledged only after another was read, or after slowPace.
	prompt = 64
	// slowPace is less than the 5 s after which a server gives up, and lets a store be away for
	// minutes.
	slowPace = time.Second
)

// snapshot is a stream's copy as the server sends it. jsm.go's has no bound on its memory when
// the store is slower than the server, and waits without end when the connection is lost.
type snapshot struct {
	v      *visit
	cancel context.CancelFunc
	chunks chan []byte
	read   chan struct{} // tells that a chunk was read
	err    error         // valid when chunks is closed
	rest   []byte
}

// snapshot asks for a stream with its consumers.
func (v *visit) snapshot(ctx context.Context, stream string) (*snapshot, error) {
	request, err := json.Marshal(map[string]any{
		"deliver_subject": v.inbox, "chunk_size": chunkSize, "window_size": windowSize,
	})
	if err != nil {
		return nil, err
	}
	if err := v.send(snapshotSubject+stream, request); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &snapshot{v: v, cancel: cancel, chunks: make(chan []byte, buffered), read: make(chan struct{}, 1)}
	go func() {
		s.err = s.receive(ctx)
		close(s.chunks)
	}()
	return s, nil
}

const (
	snapshotSubject    = "$JS.API.STREAM.SNAPSHOT."
	snapshotAckSubject = "$JS.SNAPSHOT.ACK."
	// snapshotAnswer begins the answer to the request, which may come after the first chunk.
	snapshotAnswer = `{"type":"io.nats.jetstream.api.v1.stream_snapshot_response"`
)

// receive takes the chunks from the connection until the last, which is empty.
func (s *snapshot) receive(ctx context.Context) error {
	answered := false
	for {
		m, err := s.v.next(ctx, silence)
		if err != nil {
			return err
		}
		if !answered && bytes.HasPrefix(m.Data, []byte(snapshotAnswer)) {
			if err := refusal(m.Data); err != nil {
				return err
			}
			answered = true
			continue
		}
		if len(m.Data) == 0 {
			return ending204(m)
		}
		if err := s.take(ctx, m); err != nil {
			return err
		}
	}
}

// ending204 is the error that the last message of a snapshot names.
func ending204(m *nats.Msg) error {
	if status := m.Header.Get("Status"); status != "" && status != "204" {
		return fmt.Errorf("the server ended the copy of the stream: %s %s", status, m.Header.Get("Description"))
	}
	return nil
}

// take stores a chunk, and acknowledges it later if the store is slow.
func (s *snapshot) take(ctx context.Context, m *nats.Msg) error {
	select {
	case s.chunks <- m.Data:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.slow(ctx); err != nil {
		return err
	}
	if m.Reply == "" { // the last chunk
		return nil
	}
	return doing("acknowledge a part of the stream", m.Respond(nil))
}

// slow waits while many chunks are waiting, but no longer than slowPace.
func (s *snapshot) slow(ctx context.Context) error {
	if len(s.chunks) <= prompt {
		return nil
	}
	pace := time.NewTimer(slowPace)
	defer pace.Stop()
	for len(s.chunks) > prompt {
		select {
		case <-s.read:
		case <-pace.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Read implements io.Reader.
func (s *snapshot) Read(p []byte) (int, error) {
	if err := s.peek(); err != nil {
		return 0, err
	}
	if len(s.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// peek waits for the first part.
func (s *snapshot) peek() error {
	if len(s.rest) > 0 {
		return nil
	}
	chunk, ok := <-s.chunks
	s.rest = chunk
	if !ok {
		return s.err
	}
	select {
	case s.read <- struct{}{}:
	default:
	}
	return nil
}

// failure is why the server's data ended early; nil: it did not end early, or not yet.
func (s *snapshot) failure() error {
	select {
	case _, more := <-s.chunks:
		if !more {
			return s.err
		}
	default:
	}
	return nil
}

// stop ends the copy. The server notices that nobody listens.
func (s *snapshot) stop() {
	s.cancel()
	for range s.chunks {
		continue
	}
}
