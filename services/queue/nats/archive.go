package nats

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server/archive"

	"github.com/chandler-broker/chandler/services"
)

// streamState is what a snapshot says about its stream before the messages.
type streamState struct {
	Messages  uint64    `json:"messages"`
	Bytes     uint64    `json:"bytes"`
	First     uint64    `json:"first_seq"`
	FirstTime time.Time `json:"first_ts"`
	Last      uint64    `json:"last_seq"`
	LastTime  time.Time `json:"last_ts"`
	Consumers int       `json:"consumer_count"`
}

// consumer is one consumer in a snapshot. Raw is all of it.
type consumer struct {
	entry  *archive.Header
	raw    []byte
	Config struct {
		Durable  string        `json:"durable_name"`
		Inactive time.Duration `json:"inactive_threshold"`
	}
	State struct {
		Acknowledged struct {
			Stream uint64 `json:"stream_seq"`
		} `json:"ack_floor"`
	}
}

const (
	maxStateSize = 1 << 20
	// maxConsumersSize bounds the memory for a stream's consumers: a million unacknowledged
	// messages take about 50 MB.
	maxConsumersSize = 64 << 20
	// maxConsumers is the plans' bound.
	maxConsumers = maxCount
)

// transcoder copies a stream's snapshot entry by entry, in both directions. It checks everything:
// an application can write into the copy of its own stream, and servers trust what they restore.
type transcoder struct {
	in    *archive.Reader
	out   *archive.Writer
	found *streamContents
	most  int64 // bytes of a message
	state streamState
	buf   []byte
}

func transcode(in io.Reader, out io.Writer, most int64, found *streamContents) error {
	t := &transcoder{most: most, in: archive.NewReader(in), out: archive.NewWriter(out), found: found, buf: make([]byte, chunkSize)}
	if err := t.head(); err != nil {
		return err
	}
	for {
		last, err := t.message()
		if err != nil {
			return err
		}
		if last {
			break
		}
	}
	if _, err := t.in.Next(); !errors.Is(err, io.EOF) {
		return errors.Join(errors.New("the stream's copy does not end where it says"), err)
	}
	found.state = t.state
	return t.out.Close()
}

// head copies the state and the consumers.
func (t *transcoder) head() error {
	entry, err := t.in.Next()
	if err != nil {
		return truncated(err)
	}
	if entry.Name != "state.json" {
		return errors.New("the stream's copy does not begin with its state: backups need NATS 2.15 or newer")
	}
	raw, err := t.read(entry, maxStateSize)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &t.state); err != nil || t.state.Consumers < 0 || t.state.Consumers > maxConsumers {
		return errors.Join(errors.New("the stream's copy has an invalid state"), err)
	}
	consumers, err := t.consumers()
	if err != nil {
		return err
	}
	t.state.Consumers = len(consumers)
	if raw, err = json.Marshal(t.state); err != nil {
		return err
	}
	entry.HeaderSize, entry.PayloadSize = 0, int64(len(raw))
	if err := t.write(entry, raw); err != nil {
		return err
	}
	for _, c := range consumers {
		if err := t.write(c.entry, c.raw); err != nil {
			return err
		}
	}
	return nil
}

// consumers reads the consumers, without those that end with their application.
func (t *transcoder) consumers() ([]consumer, error) {
	var durable []consumer
	left := int64(maxConsumersSize)
	for range t.state.Consumers {
		c, err := t.consumer(left)
		if err != nil {
			return nil, err
		}
		left -= int64(len(c.raw))
		if c.Config.Durable == "" {
			continue
		}
		if c.entry.Name != consumersFolder+c.Config.Durable || !validName(c.Config.Durable) {
			return nil, fmt.Errorf("the stream's copy has a consumer with the invalid name %q", c.entry.Name)
		}
		durable = append(durable, c)
	}
	return durable, t.found.addConsumers(durable)
}

const consumersFolder = "consumers/"

func (t *transcoder) consumer(most int64) (c consumer, err error) {
	if c.entry, err = t.in.Next(); err != nil {
		return c, truncated(err)
	}
	if !strings.HasPrefix(c.entry.Name, consumersFolder) {
		return c, errors.New("the stream's copy has fewer consumers than it says")
	}
	if c.raw, err = t.read(c.entry, most); err != nil {
		return c, err
	}
	if err := json.Unmarshal(c.raw, &c); err != nil {
		return c, fmt.Errorf("the stream's copy has an invalid consumer: %w", err)
	}
	return c, nil
}

// message copies one message, and says whether it was the mark of the end.
func (t *transcoder) message() (last bool, err error) {
	entry, err := t.in.Next()
	if err != nil {
		return false, truncated(err)
	}
	if *entry == (archive.Header{}) {
		return true, t.out.WriteHeader(entry)
	}
	if entry.Sequence < max(1, t.state.First) || entry.Sequence > t.state.Last || entry.Sequence <= t.found.last {
		return false, fmt.Errorf("the stream's copy has message %d, which is out of order", entry.Sequence)
	}
	if !validSubject(entry.Name) {
		return false, fmt.Errorf("the stream's copy has a message with the invalid subject %q", entry.Name)
	}
	if entry.HeaderSize > t.most || entry.PayloadSize > t.most-entry.HeaderSize {
		return false, fmt.Errorf("the stream's copy has message %d, which is larger than %s", entry.Sequence, services.Size(t.most))
	}
	if err := t.out.WriteHeader(entry); err != nil {
		return false, err
	}
	t.found.addMessage(entry)
	n, err := io.CopyBuffer(io.MultiWriter(t.out, t.found.messages), t.in, t.buf)
	if err == nil && n != entry.HeaderSize+entry.PayloadSize {
		err = truncated(io.EOF)
	}
	return false, err
}

func (t *transcoder) read(entry *archive.Header, most int64) ([]byte, error) {
	if entry.HeaderSize+entry.PayloadSize > most {
		return nil, fmt.Errorf("the stream's copy has the entry %q, which is larger than %d bytes", entry.Name, most)
	}
	raw, err := io.ReadAll(t.in)
	if err == nil && int64(len(raw)) != entry.HeaderSize+entry.PayloadSize {
		err = truncated(io.EOF)
	}
	return raw, err
}

func (t *transcoder) write(entry *archive.Header, raw []byte) error {
	if err := t.out.WriteHeader(entry); err != nil {
		return err
	}
	_, err := t.out.Write(raw)
	return err
}

func truncated(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the stream's copy is truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}

const maxNameLength = 255

// validName says whether a stream or consumer can have the name: it becomes part of subjects, and
// of a path on the server.
func validName(name string) bool {
	return name != "" && len(name) <= maxNameLength && validToken(name) && !strings.ContainsAny(name, `./\*>`)
}

// validSubject says whether a message can have the subject. Servers write subjects as they are
// into their protocol, also into that among each other.
func validSubject(subject string) bool {
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || token == "*" || token == everything || !validToken(token) {
			return false
		}
	}
	return len(subject) <= 1<<15
}

func validToken(token string) bool {
	return !strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
