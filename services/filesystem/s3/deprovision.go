package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
)

// Deprovision implements services.Backend. If the plan protects contents, it deletes the
// bucket first, so that a refusal leaves everything as it was.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	group, err := b.folder.Group(bucket)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if r.Instance.Plan.DeleteContents {
		err = b.deleteAll(ctx, r.Instance.Name, bucket)
	} else {
		err = b.deleteEmpty(ctx, r.Instance.Name, bucket)
	}
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	b.scans.Forget(r.Instance.Name)
	return services.DeprovisionResult{}, b.folder.RemoveGroup(group)
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

// deleteAll ends all access first, so that nothing is added while it empties the bucket.
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
		return fmt.Errorf("the folder of bucket %s holds a file that is not an object, which the gateway does not delete; remove it there, or configure shared_folder: %w", bucket, err)
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
	// emptyPause lets the gateway serve other clients.
	emptyPause = 100 * time.Millisecond
)

// errDeleting says that one call had too little time.
var errDeleting = services.NotYet(emptyPause, "deleting the bucket's objects")

// empty deletes all objects, or as many as there is time for: in the bucket's folder if the
// broker can, which also removes what the gateway does not list.
func (b *backend) empty(ctx context.Context, bucket string) error {
	end := time.Now().Add(emptyFor)
	if dir := b.local(bucket); dir != "" {
		done, err := filesystem.Empty(dir, end)
		if err == nil && !done {
			return errDeleting
		}
		if !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return b.emptyRemotely(ctx, bucket, end)
}

func (b *backend) emptyRemotely(ctx context.Context, bucket string, end time.Time) error {
	for {
		page, _, err := b.gateway.objects(ctx, bucket, "")
		if is(err, noSuchBucket) || (err == nil && len(page) == 0) {
			return nil
		}
		if err != nil {
			return err
		}
		if time.Now().After(end) {
			return errDeleting
		}
		if err := b.deletePage(ctx, bucket, page, end); err != nil {
			return err
		}
	}
}

// deletePage deletes the objects of a page. That some are left is not an error: a folder can
// be deleted once it is empty.
func (b *backend) deletePage(ctx context.Context, bucket string, page []object, end time.Time) error {
	var odd []object
	plain := slices.DeleteFunc(slices.Clone(page), func(o object) bool {
		if misspelled(o.Key) {
			odd = append(odd, o)
		}
		return misspelled(o.Key)
	})
	deleted, err := b.deleteOdd(ctx, bucket, odd, end)
	if err == nil && len(plain) > 0 {
		var failed int
		failed, err = b.gateway.deleteObjects(ctx, bucket, plain)
		deleted += len(plain) - failed
	}
	if err == nil && deleted == 0 {
		return fmt.Errorf("the gateway does not delete the objects of bucket %s; its log says why. "+
			"Keys of other characters than UTF-8's are deleted where shared_folder is configured", bucket)
	}
	return err
}

// deleteOdd deletes objects whose keys XML cannot carry, as many as there is time for.
func (b *backend) deleteOdd(ctx context.Context, bucket string, odd []object, end time.Time) (deleted int, err error) {
	for _, o := range odd {
		key, err := b.gateway.spelled(ctx, bucket, o.Key)
		if err != nil {
			return deleted, err
		}
		if key != "" {
			if err := b.gateway.deleteObject(ctx, bucket, key); err != nil {
				return deleted, err
			}
			deleted++
		}
		if time.Now().After(end) {
			return deleted, nil
		}
	}
	return deleted, nil
}
