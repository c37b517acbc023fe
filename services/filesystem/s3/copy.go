package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

var (
	_ services.Streamer[Plan, InstanceParams] = (*backend)(nil)
	_ services.Incrementer                    = (*backend)(nil)
)

// Backup implements services.Streamer. The administrator reads the objects: the bucket's policy
// does not concern it, and a tenant cannot change that.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (services.Contents, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	contents, err := b.gateway.Backup(ctx, bucket, r.Writer, r.Base)
	return contents, b.explainAbsent(bucket, err)
}

// Restore implements services.Streamer. Objects belong to the bucket's owner, whoever writes them.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	result, err := b.gateway.Restore(ctx, bucket, r.Instance.Plan.Plan, objectstore.Stream{Contents: r.Contents, Reader: r.Reader, Bases: r.Bases})
	return result, b.explainAbsent(bucket, err)
}

// Increments implements services.Incrementer.
func (b *backend) Increments() bool { return true }
