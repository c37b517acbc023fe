package nats

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Ready implements services.Readier: the servers answer, JetStream is enabled
// with the limits that no account has, and they take the operator's orders.
func (b *backend) Ready(ctx context.Context) error {
	all, err := b.link.present(ctx)
	if err != nil {
		return err
	}
	if _, err := b.link.usageOf(ctx, all, ""); err != nil {
		return err
	}
	if err := b.limited(ctx, all); err != nil {
		return err
	}
	order, err := b.keys.deletion() // of nothing: it shows whether the servers obey
	if err != nil {
		return err
	}
	if _, err := b.link.all(ctx, all, deleteSubject, []byte(order)); err != nil {
		return fmt.Errorf("the servers refuse the operator's orders; operator_seed must be of a key that their operator's JWT names, and their resolver of type full with allow_delete: true: %w", err)
	}
	return nil
}

// limitReport is what a server reports of JetStream's own limits.
type limitReport struct {
	Disabled bool `json:"disabled"`
	API      struct {
		Level int `json:"level"`
	} `json:"api"`
	Limits struct {
		Window   time.Duration `json:"max_duplicate_window"`
		Batches  int           `json:"max_batch_inflight_per_stream"`
		Messages int           `json:"max_batch_size"`
	} `json:"limits"`
}

// batchLevel is the first level of the API with atomic batches.
const batchLevel = 2

// missing are the limits that a server lacks.
func (r limitReport) missing() []string {
	var missing []string
	if r.Disabled {
		return nil
	}
	if r.Limits.Window <= 0 {
		missing = append(missing, "duplicate_window")
	}
	if r.API.Level >= batchLevel && (r.Limits.Batches <= 0 || r.Limits.Messages <= 0) {
		missing = append(missing, "batch.max_inflight_per_stream and batch.max_msgs")
	}
	return missing
}

// limited checks that the servers have the limits without which an application takes
// memory and disk space that no account counts.
func (b *backend) limited(ctx context.Context, all servers) error {
	answers, err := reports[limitReport](ctx, b.link, all, "ask for the limits of JetStream", nil)
	if err != nil {
		return err
	}
	var faults []string
	for id, r := range answers {
		if missing := r.missing(); len(missing) > 0 {
			faults = append(faults, fmt.Sprintf("server %s: jetstream.limits: set %s", all[id], strings.Join(missing, ", ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return errors.New(strings.Join(faults, "; ") + ": without them an application can use memory and disk space that no plan counts; see the README of queue/nats before you set them")
}

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: p.Storage, Memory: p.Memory}
}

// capacityReport is what a server reports of JetStream's resources.
type capacityReport struct {
	Disabled    bool  `json:"disabled"`
	UsedMemory  int64 `json:"memory"`
	UsedStorage int64 `json:"storage"`
	Config      struct {
		Memory  int64 `json:"max_memory"`
		Storage int64 `json:"max_storage"`
	} `json:"config"`
}

// Capacity implements services.CapacityReporter: what JetStream may use on all servers
// together, and how much of that no stream uses.
func (b *backend) Capacity(ctx context.Context) (c services.Capacity, err error) {
	all, err := b.link.present(ctx)
	if err != nil {
		return c, err
	}
	answers, err := reports[capacityReport](ctx, b.link, all, "ask for the capacity of JetStream", nil)
	for _, r := range answers {
		if r.Disabled {
			continue
		}
		c.Total.Storage += services.Size(r.Config.Storage)
		c.Total.Memory += services.Size(r.Config.Memory)
		c.Free.Storage += services.Size(max(0, r.Config.Storage-r.UsedStorage))
		c.Free.Memory += services.Size(max(0, r.Config.Memory-r.UsedMemory))
	}
	return c, err
}
