package nats

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server/archive"

	"github.com/chandler-broker/chandler/services"
)

// copyFormat is the format of a copy: a tar archive with a JSON file for each stream, and the
// parts of its snapshot in the servers' own format ("NATSARC1"), uncompressed.
const copyFormat = "nats-1"

// streamConfig is what the broker reads of a stream's configuration.
type streamConfig struct {
	Name      string
	Storage   string
	Retention string
	Replicas  int           `json:"num_replicas"`
	MaxAge    time.Duration `json:"max_age"`
	TTL       bool          `json:"allow_msg_ttl"`
	Mirror    json.RawMessage
	Sources   json.RawMessage
}

// derived says that the stream gets its messages from others.
func (c *streamConfig) derived() bool {
	return c.Mirror != nil || c.Sources != nil
}

// lasting says that the messages are the same in a copy of the restored stream: they do not
// expire, need no consumer that stays, and no other stream adds to them.
func (c *streamConfig) lasting() bool {
	return c.MaxAge == 0 && !c.TTL && c.Retention != "interest" && !c.derived()
}

// streamContents is what a stream's copy contains.
type streamContents struct {
	config      streamConfig
	description []byte // what has to be equal of the configuration and the consumers
	state       streamState
	consumers   int64
	count       int64
	bytes       int64
	largest     int64
	last        uint64
	messages    hash.Hash
}

func newStreamContents(config json.RawMessage) (*streamContents, error) {
	s := &streamContents{messages: sha256.New()}
	if err := json.Unmarshal(config, &s.config); err != nil {
		return nil, fmt.Errorf("the stream's configuration: %w", err)
	}
	var err error
	s.description, err = essence(config, "num_replicas", "placement")
	return s, err
}

// essence encodes a configuration without the fields that a restore changes.
func essence(config json.RawMessage, without ...string) ([]byte, error) {
	fields := map[string]any{}
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, err
	}
	maps.DeleteFunc(fields, func(key string, _ any) bool { return slices.Contains(without, key) })
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		maps.DeleteFunc(metadata, func(key string, _ any) bool { return strings.HasPrefix(key, "_nats.") })
		if len(metadata) == 0 {
			delete(fields, "metadata")
		}
	}
	return json.Marshal(fields)
}

// addConsumers adds consumers. One that the server removes when it is not used may be absent from
// a copy of the restored stream. Redelivered messages are counted anew.
func (s *streamContents) addConsumers(all []consumer) error {
	slices.SortFunc(all, func(x, y consumer) int { return cmp.Compare(x.Config.Durable, y.Config.Durable) })
	for _, c := range all {
		if c.Config.Inactive > 0 {
			continue
		}
		var raw struct{ Config json.RawMessage }
		if err := json.Unmarshal(c.raw, &raw); err != nil {
			return err
		}
		config, err := essence(raw.Config, "num_replicas")
		if err != nil {
			return err
		}
		s.description = fmt.Appendf(s.description, "\n%s %d", config, c.State.Acknowledged.Stream)
		s.consumers++
	}
	return nil
}

// addMessage adds a message but for its body.
func (s *streamContents) addMessage(m *archive.Header) {
	s.last = m.Sequence
	s.count++
	size := m.HeaderSize + m.PayloadSize
	s.bytes += size + int64(len(m.Name))
	s.largest = max(s.largest, size)
	head := binary.BigEndian.AppendUint64(nil, m.Sequence)
	for _, n := range []int64{m.Timestamp, m.HeaderSize, m.PayloadSize, int64(len(m.Name))} {
		head = binary.BigEndian.AppendUint64(head, uint64(n)) //nolint:gosec // only for the hash
	}
	s.messages.Write(append(head, m.Name...))
}

// sum is a hash of what a copy of the restored stream contains as well.
func (s *streamContents) sum() []byte {
	h := sha256.New()
	h.Write(s.description)
	if s.config.lasting() {
		h.Write(s.messages.Sum(nil))
		_ = binary.Write(h, binary.BigEndian, []uint64{s.state.First, s.state.Last}) // a hash takes everything
	}
	return h.Sum(nil)
}

// details are what a plan must have room for, in bytes and numbers.
type details struct {
	Storage   int64 `json:"storage"`
	Memory    int64 `json:"memory"`
	Streams   int64 `json:"streams"`
	Consumers int64 `json:"consumers"` // of one stream
	Payload   int64 `json:"payload"`
	// Transient is how many messages are in the copy and may be missing in a copy of the
	// restored instance, because they expire or come from other streams.
	Transient int64 `json:"transient"`
}

// inventory is what a copy contains.
type inventory struct {
	hash   hash.Hash
	counts map[string]int64
	details
}

func newInventory() *inventory {
	return &inventory{hash: sha256.New(), counts: map[string]int64{"streams": 0, "consumers": 0, "messages": 0, "bytes": 0}}
}

func (i *inventory) add(s *streamContents) {
	i.hash.Write(s.sum())
	i.counts["streams"]++
	i.counts["consumers"] += s.consumers
	if s.config.lasting() {
		i.counts["messages"] += s.count
		i.counts["bytes"] += s.bytes
	} else {
		i.Transient += s.count
	}
	if s.config.Storage == "memory" {
		i.Memory += s.bytes
	} else {
		i.Storage += s.bytes
	}
	i.Streams++
	i.Consumers = max(i.Consumers, int64(s.state.Consumers))
	i.Payload = max(i.Payload, s.largest)
}

func (i *inventory) contents() (services.Contents, error) {
	raw, err := json.Marshal(i.details)
	return services.Contents{
		Format: copyFormat, Counts: i.counts, Digest: hex.EncodeToString(i.hash.Sum(nil)), Details: raw,
		Omitted: []string{
			"Consumers without a durable name, which end with their application.",
			"The message IDs that streams remember to detect duplicates.",
		},
	}, err
}

// fits refuses a copy that is larger than the plan.
func (d *details) fits(p Plan) error {
	storage, memory, payload := services.Size(d.Storage), services.Size(d.Memory), services.Size(d.Payload)
	switch {
	case storage > p.Storage:
		return services.Rejected("the copy has %s of streams on disk and the plan allows %s; choose a larger plan", storage, p.Storage)
	case memory > p.Memory:
		return services.Rejected("the copy has %s of streams in memory and the plan allows %s; choose a plan with more memory", memory, p.Memory)
	case d.Streams > p.Streams:
		return services.Rejected("the copy has %d streams and the plan allows %d; choose a larger plan", d.Streams, p.Streams)
	case d.Consumers > p.Consumers:
		return services.Rejected("the copy has a stream with %d consumers and the plan allows %d; choose a larger plan", d.Consumers, p.Consumers)
	case payload > p.Payload:
		return services.Rejected("the copy has a message of %s and the plan allows %s; choose a plan with a larger payload", payload, p.Payload)
	}
	return nil
}
