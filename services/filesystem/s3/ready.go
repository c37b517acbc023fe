package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error {
	if _, err := b.gateway.accessKeys(ctx); err != nil {
		return err
	}
	return b.folder.Ready()
}

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// Capacity implements services.CapacityReporter, where this machine has the gateway's folder.
func (b *backend) Capacity(context.Context) (c services.Capacity, err error) {
	if b.shared == "" {
		return c, nil
	}
	return filesystem.Capacity(b.shared)
}
