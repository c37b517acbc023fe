package smb

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

var (
	_ services.FootprintReporter[Plan] = (*backend)(nil)
	_ services.CapacityReporter        = (*backend)(nil)
)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// Capacity implements services.CapacityReporter.
func (b *backend) Capacity(context.Context) (c services.Capacity, err error) {
	return filesystem.Capacity(b.folder.dir)
}
