package mysql

import "github.com/chandler-broker/chandler/services"

var _ services.Sizer[Plan] = (*backend)(nil)

// Takes implements services.Sizer.
func (b *backend) Takes(p Plan) services.Space { return services.Space{Storage: p.Storage} }
