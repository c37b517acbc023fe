package s3

import (
	"context"

	"github.com/chandler-broker/chandler/services"
)

var _ services.Streamer[Plan, InstanceParams] = (*backend)(nil)

// Backup implements services.Streamer. The administrator reads the objects: the bucket's policy
// does not concern it, and a tenant cannot change that.
func (b *backend) Backup(ctx context.Context, r services.BackupRequest[Plan, InstanceParams]) (services.Contents, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	contents, err := b.gateway.Backup(ctx, bucket, r.Writer)
	return contents, b.explainAbsent(bucket, err)
}

// Restore implements services.Streamer. Objects belong to the bucket's owner, whoever writes them.
func (b *backend) Restore(ctx context.Context, r services.RestoreRequest[Plan, InstanceParams]) (services.RestoreResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	err := b.gateway.Restore(ctx, bucket, r.Instance.Plan, r.Contents, r.Reader)
	return services.RestoreResult{}, b.explainAbsent(bucket, err)
}
