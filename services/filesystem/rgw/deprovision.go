package rgw

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ceph/go-ceph/rgw/admin"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Deprovision implements services.Backend. If the plan protects contents, it deletes the bucket
// before the users, so that a refusal leaves everything as it was. The owner goes last: without it
// there is no bucket.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	name := r.Instance.Name
	u, err := b.gateway.user(ctx, b.names.user(name, owner))
	switch {
	case objectstore.Is(err, noSuchUser):
		err = b.removeTenants(ctx, name)
	case err == nil && r.Instance.Plan.DeleteContents:
		err = b.deleteAll(ctx, name, u)
	case err == nil:
		err = b.deleteEmpty(ctx, name, u)
	}
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	b.scans.Forget(name)
	return services.DeprovisionResult{}, b.gateway.removeUser(ctx, b.names.user(name, owner))
}

func (b *backend) deleteEmpty(ctx context.Context, instance string, u admin.User) error {
	s3, err := b.gateway.asOwner(ctx, u)
	if err != nil {
		return err
	}
	err = s3.DeleteBucket(ctx, b.names.bucketOf(instance)) // with unfinished uploads
	if objectstore.Is(err, objectstore.BucketNotEmpty) {
		return objectstore.NotEmpty(b.names.bucketOf(instance))
	}
	if err != nil {
		return err
	}
	if err := b.removeTenants(ctx, instance); err != nil {
		return err
	}
	return removeTopics(ctx, s3)
}

// deleteAll ends all access first, so that nothing is added while it empties the bucket.
func (b *backend) deleteAll(ctx context.Context, instance string, u admin.User) error {
	if err := b.removeTenants(ctx, instance); err != nil {
		return err
	}
	s3, err := b.gateway.asOwner(ctx, u)
	if err != nil {
		return err
	}
	if err := emptyUntil(ctx, s3, b.names.bucketOf(instance), time.Now().Add(emptyFor)); err != nil {
		return err
	}
	if err := s3.DeleteBucket(ctx, b.names.bucketOf(instance)); err != nil {
		return err
	}
	return removeTopics(ctx, s3)
}

// removeTenants removes the users that have the bindings' keys.
func (b *backend) removeTenants(ctx context.Context, instance string) error {
	return b.tenants(instance, func(_ int, user string) error { return b.gateway.removeUser(ctx, user) })
}

const (
	// emptyFor is how long one call empties a bucket.
	emptyFor = 10 * time.Second
	// batch is how many objects one request deletes. The gateway deletes one after the other.
	batch = 250
)

// errDeleting says that one call had too little time.
var errDeleting = services.NotYet(100*time.Millisecond, "deleting the bucket's objects")

// emptyUntil deletes all versions of all objects and all unfinished uploads, or as many as there
// is time for.
func emptyUntil(ctx context.Context, s3 *objectstore.Client, bucket string, end time.Time) error {
	for {
		page, err := s3.Versions(ctx, bucket)
		if objectstore.Is(err, objectstore.NoSuchBucket) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return abortUploads(ctx, s3, bucket, end)
		}
		for len(page) > 0 {
			n := min(batch, len(page))
			if err := deleteVersions(ctx, s3, bucket, page[:n]); err != nil {
				return err
			}
			if page = page[n:]; time.Now().After(end) {
				return errDeleting
			}
		}
	}
}

// deleteVersions deletes objects, those whose keys XML cannot carry one by one.
func deleteVersions(ctx context.Context, s3 *objectstore.Client, bucket string, page []objectstore.Object) error {
	var plain []objectstore.Object
	for _, o := range page {
		if inXML(o.Key) {
			plain = append(plain, o)
			continue
		}
		r := objectstore.Request{Method: http.MethodDelete, Bucket: bucket, Key: o.Key, Query: url.Values{"versionId": {o.VersionID}}}
		if err := s3.Call(ctx, r, nil); err != nil {
			return s3.Explain("delete an object", err)
		}
	}
	if len(plain) == 0 {
		return nil
	}
	failed, err := s3.DeleteObjects(ctx, bucket, plain)
	if err == nil && failed == len(plain) {
		err = fmt.Errorf("the gateway does not delete the objects of bucket %s; its log says why", bucket)
	}
	return err
}

// inXML says whether XML can carry a key.
func inXML(key string) bool {
	return utf8.ValidString(key) && !strings.ContainsFunc(key, func(c rune) bool {
		return c < ' ' && c != '\t' && c != '\n' || c == '\ufffe' || c == '\uffff' || c == utf8.RuneError
	})
}

// abortUploads ends unfinished uploads, whose parts the gateway would delete in one long call
// otherwise.
func abortUploads(ctx context.Context, s3 *objectstore.Client, bucket string, end time.Time) error {
	for {
		page, _, err := s3.Uploads(ctx, bucket, "")
		if objectstore.Is(err, objectstore.NoSuchBucket) || err == nil && len(page) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		for _, u := range page {
			if err := s3.AbortUpload(ctx, bucket, u); err != nil {
				return err
			}
			if time.Now().After(end) {
				return errDeleting
			}
		}
	}
}
