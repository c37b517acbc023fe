package nats

import (
	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
)

// Plan is what a plan of this backend says about its accounts.
type Plan struct {
	// Storage is what all streams on disk may hold together, each copy counted.
	Storage services.Size `json:"storage"`
	// Memory is the same for streams in memory; 0: there can be none.
	Memory services.Size `json:"memory"`
	// Streams is how many streams, key-value buckets and object stores there may be.
	Streams int64 `json:"streams"`
	// Consumers is how many consumers a stream may have.
	Consumers int64 `json:"consumers"`
	// Connections is how many connections an instance's applications may hold together.
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

// limits is the plan in an account's claims. The storage is for all streams together, not for each
// number of copies ("tiered"), so that it bounds what an instance takes of the disks.
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
