package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Deprovision implements services.Backend. A bucket whose contents the plan
// keeps is deleted first, and its refusal to go leaves everything as it was.
func (b *backend) Deprovision(ctx context.Context, inst instance) error {
	bucket := b.names.bucketOf(inst.Name)
	group, err := b.folder.Group(bucket)
	if err != nil {
		return err
	}
	if inst.Plan.DeleteContents {
		err = b.deleteAll(ctx, inst.Name, bucket)
	} else {
		err = b.deleteEmpty(ctx, inst.Name, bucket)
	}
	if err != nil {
		return err
	}
	b.forget(inst.Name)
	return b.folder.RemoveGroup(group)
}

func (b *backend) deleteEmpty(ctx context.Context, instance, bucket string) error {
	err := b.gateway.deleteBucket(ctx, bucket)
	if is(err, bucketNotEmpty) {
		return services.Rejected("bucket %s is not empty, and this plan keeps what is in it: copy what you need, delete all objects, and delete the instance again", bucket)
	}
	if err != nil {
		return err
	}
	return b.deleteAccounts(ctx, instance)
}

// deleteAll ends all access first: nothing is added while the bucket is emptied.
func (b *backend) deleteAll(ctx context.Context, instance, bucket string) error {
	if err := b.deleteAccounts(ctx, instance); err != nil {
		return err
	}
	err := b.gateway.deleteBucket(ctx, bucket)
	if !is(err, bucketNotEmpty) {
		return err
	}
	if err := b.empty(ctx, bucket); err != nil {
		return err
	}
	err = b.gateway.deleteBucket(ctx, bucket)
	if is(err, bucketNotEmpty) {
		return fmt.Errorf("in the folder of bucket %s is something that is no object, which the gateway does not delete; remove it there: %w", bucket, err)
	}
	return err
}

func (b *backend) deleteAccounts(ctx context.Context, instance string) error {
	keys, err := b.gateway.accessKeys(ctx)
	if err != nil {
		return err
	}
	for _, a := range of(instance, b.names.ours(keys)) {
		if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
			return err
		}
	}
	return nil
}

const (
	// emptyFor is how long one call empties a bucket.
	emptyFor = 10 * time.Second
	// emptyPause gives the gateway's other users their turn.
	emptyPause = 100 * time.Millisecond
)

// empty deletes all objects, or as many as there is time for.
func (b *backend) empty(ctx context.Context, bucket string) error {
	for end := time.Now().Add(emptyFor); ; {
		page, _, err := b.gateway.objects(ctx, bucket, "")
		if is(err, noSuchBucket) || (err == nil && len(page) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(end) {
			return services.NotYet(emptyPause, "deleting the bucket's objects")
		}
		if err := b.deletePage(ctx, bucket, page); err != nil {
			return err
		}
	}
}

// deletePage deletes the objects of a page. That some are left is no error: a
// folder goes when what is in it has gone.
func (b *backend) deletePage(ctx context.Context, bucket string, page []object) error {
	failed, err := b.gateway.deleteObjects(ctx, bucket, page)
	if err == nil && failed == len(page) {
		return fmt.Errorf("the gateway does not delete the objects of bucket %s; its log says why", bucket)
	}
	return err
}
