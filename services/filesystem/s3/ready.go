package s3

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
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
func (b *backend) Footprint(p Plan) services.Space {
	return services.Space{Storage: btrfs.Footprint(p.Storage, p.Snapshots)}
}

// Capacity implements services.CapacityReporter, where this machine has the gateway's folder.
func (b *backend) Capacity(context.Context) (c services.Capacity, err error) {
	if b.shared == "" {
		return c, nil
	}
	return filesystem.Capacity(b.shared)
}

var _ services.DirectoryProvider[Plan, InstanceParams] = (*backend)(nil)

// Directory implements services.DirectoryProvider: the gateway keeps objects as plain files.
func (b *backend) Directory(_ context.Context, inst instance) (string, error) {
	if b.shared == "" {
		return "", services.Rejected("buckets of this plan cannot be mounted: " +
			"the operator has to say where on this machine they are (set shared_folder)")
	}
	dir := filepath.Join(b.shared, b.names.bucketOf(inst.Name))
	if _, err := os.Lstat(dir); err != nil {
		return "", fmt.Errorf("find the bucket's folder: %w", err)
	}
	return dir, nil
}

// local is a bucket's folder; "" if it is unknown.
func (b *backend) local(bucket string) string {
	if b.shared == "" {
		return ""
	}
	dir := filepath.Join(b.shared, bucket)
	if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
		return ""
	}
	return dir
}
