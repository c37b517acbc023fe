package rabbitmq

import (
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend says about its virtual hosts.
type Plan struct {
	// Connections is how many connections an instance's applications may hold together.
	Connections int `json:"connections"`
	// ConnectionsPerBinding is how many one binding may hold; 0: as many as the instance.
	ConnectionsPerBinding int `json:"connections_per_binding"`
	// ChannelsPerBinding is how many channels one binding may hold; 0: without limit.
	ChannelsPerBinding int `json:"channels_per_binding"`
	// Queues is how many queues there may be.
	Queues int `json:"queues"`
	// QueueMessages is how many messages may wait in a queue; 0: as many as let their headers
	// take QueueSize, which bounds only bodies; without QueueSize, there is no limit.
	QueueMessages int `json:"queue_messages"`
	// QueueSize is how many bytes may wait in a queue; 0: without limit.
	QueueSize services.Size `json:"queue_size"`
	// Overflow is reject-publish or drop-head, which drops the oldest message, at the limit.
	Overflow string `json:"overflow"`
	// DefaultQueueType is classic, quorum or stream; default: as the server is configured.
	DefaultQueueType string `json:"default_queue_type"`
}

const (
	rejectPublish = "reject-publish"
	dropHead      = "drop-head"
)

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() {
	p.Connections = 20
	p.Queues = 50
	p.Overflow = rejectPublish
}

const (
	most = 1 << 30
	// Smaller files of a stream hold few messages; the server's default is the largest.
	minSegment = 1 << 20
	maxSegment = 500_000_000
	noLimit    = -1 // how the server writes "without limit"
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	check.Range(&f, "connections", p.Connections, 1, most)
	f.If(p.ConnectionsPerBinding < 0 || p.ConnectionsPerBinding > p.Connections,
		"connections_per_binding: must be from 1 to connections, or left out for as many")
	check.Optional(&f, "channels_per_binding", p.ChannelsPerBinding, most)
	check.Range(&f, "queues", p.Queues, 1, most)
	f.If(p.QueueMessages < 0 || p.QueueMessages > most, "queue_messages: must be from 1 to %d, or left out", most)
	f.Size("queue_size", p.QueueSize, services.Kilobyte)
	f.OneOf("overflow", p.Overflow, rejectPublish, dropHead)
	if p.DefaultQueueType != "" {
		f.OneOf("default_queue_type", p.DefaultQueueType, "classic", "quorum", "stream")
	}
	return f.Err()
}

// messages is how many messages may wait in a queue if headers have at most so many bytes; 0:
// without limit.
func (p Plan) messages(headers services.Size) int {
	if p.QueueMessages == 0 && p.QueueSize != 0 {
		return int(min(max(p.QueueSize/headers, 1), most))
	}
	return p.QueueMessages
}

// lengths are the limits of every queue, for the operator policy.
func (p Plan) lengths(headers services.Size) map[string]any {
	lengths := map[string]any{}
	if n := p.messages(headers); n != 0 {
		lengths["max-length"] = n
	}
	if p.QueueSize != 0 {
		lengths["max-length-bytes"] = int64(p.QueueSize)
	}
	return lengths
}

// streamLengths are the limits of streams, which have no limit of messages.
func (p Plan) streamLengths() map[string]any {
	if p.QueueSize == 0 {
		return nil
	}
	return map[string]any{"max-length-bytes": int64(p.QueueSize)}
}

// segment is the size of a stream's files: a stream exceeds its size by one of them.
func (p Plan) segment() int64 { return int64(min(max(p.QueueSize/8, minSegment), maxSegment)) }
