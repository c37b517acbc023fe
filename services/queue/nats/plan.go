package nats

import (
	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend says about its accounts.
type Plan struct {
	// Storage is what all streams on disk may hold together, each copy
	// counted.
	Storage services.Size `json:"storage"`
	// Memory is what all streams in memory may hold together, each copy
	// counted; 0: there can be none.
	Memory services.Size `json:"memory"`
	// Streams is how many streams there may be; a key-value bucket and an
	// object store are a stream each.
	Streams int64 `json:"streams"`
	// Consumers is how many consumers a stream may have.
	Consumers int64 `json:"consumers"`
	// Connections is how many connections all applications of an instance may
	// hold together.
	Connections int64 `json:"connections"`
	// Subscriptions is how many subscriptions one connection may hold.
	Subscriptions int64 `json:"subscriptions"`
	// Payload is how large a message may be.
	Payload services.Size `json:"payload"`
}

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() {
	*p = Plan{
		Storage: 256 * services.Megabyte, Streams: 10, Consumers: 20,
		Connections: 20, Subscriptions: 1000, Payload: services.Megabyte,
	}
}

const (
	maxCount   = 1_000_000
	maxPayload = 64 * services.Megabyte // the largest message that a NATS server can be set to take
)

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.If(p.Storage < services.Megabyte, "storage: must be %s, and 1MB at least", services.SizeForm)
	f.Size("memory", p.Memory, services.Megabyte)
	f.If(p.Payload < services.Kilobyte || p.Payload > maxPayload, "payload: must be %s, from 1kB to 64MB", services.SizeForm)
	check.Range(&f, "streams", p.Streams, 1, maxCount)
	check.Range(&f, "consumers", p.Consumers, 1, maxCount)
	check.Range(&f, "connections", p.Connections, 1, maxCount)
	check.Range(&f, "subscriptions", p.Subscriptions, 1, maxCount)
	return f.Err()
}

// limits is the plan in the words of an account's claims. The storage is given
// for all streams, not for each number of copies ("tiered"): so it is what an
// instance takes from the servers' disks at most, whatever its streams are.
func (p Plan) limits() jwt.OperatorLimits {
	return jwt.OperatorLimits{
		NatsLimits:    jwt.NatsLimits{Subs: p.Subscriptions, Data: jwt.NoLimit, Payload: int64(p.Payload)},
		AccountLimits: jwt.AccountLimits{Conn: p.Connections, DisallowBearer: true}, // no leaf nodes, imports or exports
		JetStreamLimits: jwt.JetStreamLimits{
			DiskStorage: int64(p.Storage), MemoryStorage: int64(p.Memory),
			Streams: p.Streams, Consumer: p.Consumers,
		},
	}
}
