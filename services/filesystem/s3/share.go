package s3

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/chandler-broker/chandler/services"
)

// Folder implements services.Sharer: a bucket is a folder of files, an object each.
func (b *backend) Folder(_ context.Context, inst instance) (string, error) {
	if b.shared == "" {
		return "", services.Rejected("buckets of this plan cannot be mounted: " +
			"the operator has not said where on this machine they are (shared_folder)")
	}
	bucket := b.names.bucketOf(inst.Name)
	dir, err := b.shared.open(bucket)
	if err != nil {
		return "", fmt.Errorf("find the bucket's folder: %w; is shared_folder the gateway's folder?", err)
	}
	return filepath.Join(string(b.shared), bucket), dir.Close()
}
