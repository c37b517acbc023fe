package powerdns

import (
	"context"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Deprovision implements services.Backend. Everything is found by the names
// that it was given, so that a zone made for another plan goes as well.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	zones, err := b.zones(ctx, "")
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, z := range zones {
		if owner, _, ours := b.names.instanceOf(z.account); ours && owner == r.Instance.Name {
			if err := b.deleteZone(ctx, z.name); err != nil {
				return services.DeprovisionResult{}, err
			}
		}
	}
	keys, err := b.listedKeys(ctx)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	for _, key := range keys {
		if strings.HasSuffix(key, b.names.keys(r.Instance.Name)) {
			if err := b.deleteKey(ctx, key); err != nil {
				return services.DeprovisionResult{}, err
			}
		}
	}
	return services.DeprovisionResult{}, nil
}
