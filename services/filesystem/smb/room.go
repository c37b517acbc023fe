package smb

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

var (
	_ services.Sizer[Plan] = (*backend)(nil)
	_ services.Roomer      = (*backend)(nil)
)

// Takes implements services.Sizer.
func (b *backend) Takes(p Plan) services.Space { return services.Space{Storage: p.Storage} }

// Room implements services.Roomer.
func (b *backend) Room(context.Context) (free, total services.Space, err error) {
	return filesystem.Room(b.folder.dir)
}
