package mysql

import "github.com/chandler-broker/chandler/services"

var _ services.FootprintReporter[Plan] = (*backend)(nil)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }
