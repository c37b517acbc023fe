package s3

import "context"

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error {
	if _, err := b.gateway.accessKeys(ctx); err != nil {
		return err
	}
	return b.folder.Ready()
}
