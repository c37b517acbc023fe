package nats

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: p.Storage, Memory: p.Memory}
}

// capacityReport is what a server tells of JetStream's resources (NATS documentation,
// "Monitoring", jsz).
type capacityReport struct {
	Disabled    bool  `json:"disabled"`
	UsedMemory  int64 `json:"memory"`
	UsedStorage int64 `json:"storage"`
	Config      struct {
		Memory  int64 `json:"max_memory"`
		Storage int64 `json:"max_storage"`
	} `json:"config"`
}

// Capacity implements services.CapacityReporter: what JetStream may use on all servers together,
// and of that what no stream uses.
func (b *backend) Capacity(ctx context.Context) (c services.Capacity, err error) {
	there, err := b.link.present(ctx)
	if err != nil {
		return c, err
	}
	answers, err := b.link.all(ctx, there, streamSubject, []byte(`{}`))
	if err != nil {
		return c, fmt.Errorf("ask what the servers have: %w", err)
	}
	for _, data := range answers {
		var r capacityReport
		if err := json.Unmarshal(data, &r); err != nil {
			return c, fmt.Errorf("ask what the servers have: %w", errNonsense)
		}
		if r.Disabled {
			continue
		}
		c.Total.Storage += services.Size(r.Config.Storage)
		c.Total.Memory += services.Size(r.Config.Memory)
		c.Free.Storage += services.Size(max(0, r.Config.Storage-r.UsedStorage))
		c.Free.Memory += services.Size(max(0, r.Config.Memory-r.UsedMemory))
	}
	return c, nil
}
