package s3

import (
	"context"
	"fmt"
)

// Provision implements services.Backend. Where the limit of storage is to be
// hard, the bucket's folder is made first, and then becomes a bucket.
func (b *backend) Provision(ctx context.Context, inst instance) error {
	bucket := b.names.bucketOf(inst.Name)
	if b.folder == "" {
		return b.gateway.createBucket(ctx, bucket)
	}
	// A folder that is there tells nothing of whether the gateway is.
	if err := b.Ready(ctx); err != nil {
		return err
	}
	if err := b.folder.Make(bucket); err != nil {
		return fmt.Errorf("make the bucket's folder: %w", err)
	}
	if _, err := b.folder.Limit(bucket, inst.Plan.Storage); err != nil {
		return err
	}
	return b.gateway.adopt(ctx, bucket)
}

// Update implements services.Backend. Only the plan can change. A limit that is
// measured is enforced by Reconcile, which is told to look at once.
func (b *backend) Update(ctx context.Context, _, next instance) error {
	bucket := b.names.bucketOf(next.Name)
	s, err := b.state(ctx, next.Name, "")
	if err != nil {
		return b.explainAbsent(bucket, err)
	}
	if _, err := b.folder.Limit(bucket, next.Plan.Storage); err != nil {
		return err
	}
	b.forget(next.Name)
	if !s.over || next.Plan.limited() {
		return nil
	}
	s.over = false
	if err := b.gateway.mark(ctx, bucket, false); err != nil {
		return err
	}
	return b.settle(ctx, next.Name, s, "")
}

// explainAbsent says what an absent bucket means to a verb that needs one.
func (b *backend) explainAbsent(bucket string, err error) error {
	if is(err, noSuchBucket) {
		return fmt.Errorf("bucket %s is not there; provision the instance again: %w", bucket, err)
	}
	return err
}
