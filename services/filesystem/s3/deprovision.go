package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Deprovision implements services.Backend. If the plan protects contents, it deletes the bucket
// before the accounts, so that a refusal leaves everything as it was.
func (b *backend) Deprovision(ctx context.Context, r services.DeprovisionRequest[Plan, InstanceParams]) (services.DeprovisionResult, error) {
	bucket := b.names.bucketOf(r.Instance.Name)
	group, err := b.folder.Group(bucket)
	if err != nil {
		return services.DeprovisionResult{}, err
	}
	if err := b.keepsSnapshots(r.Instance, bucket); err != nil {
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
	return services.DeprovisionResult{}, errors.Join(b.snapshots.RemoveAll(bucket), b.folder.RemoveGroup(group))
}

func (b *backend) deleteEmpty(ctx context.Context, instance, bucket string) error {
	err := b.gateway.DeleteBucket(ctx, bucket)
	if objectstore.Is(err, objectstore.BucketNotEmpty) {
		return objectstore.NotEmpty(bucket)
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
	err := b.gateway.DeleteBucket(ctx, bucket)
	if !objectstore.Is(err, objectstore.BucketNotEmpty) {
		return err
	}
	if err := b.empty(ctx, bucket); err != nil {
		return err
	}
	err = b.gateway.DeleteBucket(ctx, bucket)
	if objectstore.Is(err, objectstore.BucketNotEmpty) {
		if page, _, unlisted := b.gateway.Objects(ctx, bucket, ""); unlisted == nil && len(page) > 0 {
			return errDeleting // an upload that had begun before has ended
		}
		return fmt.Errorf("the folder of bucket %s holds a file that is not an object, which the gateway does not delete; remove it there, or configure shared_folder: %w", bucket, err)
	}
	return err
}

func (b *backend) deleteAccounts(ctx context.Context, instance string) error {
	accounts, err := b.accountsOf(ctx, instance)
	if err != nil {
		return err
	}
	for _, a := range accounts {
		if err := b.gateway.deleteAccount(ctx, b.names.accessKey(a)); err != nil {
			return err
		}
	}
	return nil
}

// emptyFor is how long one call empties a bucket.
const emptyFor = 10 * time.Second

// errDeleting says that one call had too little time.
var errDeleting = services.NotYet(100*time.Millisecond, "deleting the bucket's objects")

// empty deletes all objects, or as many as there is time for. It prefers the bucket's folder,
// which also holds what the gateway does not list.
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
		page, _, err := b.gateway.Objects(ctx, bucket, "")
		if objectstore.Is(err, objectstore.NoSuchBucket) || (err == nil && len(page) == 0) {
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

// deletePage deletes a page of objects. Some may stay: folders are deleted once they are empty.
func (b *backend) deletePage(ctx context.Context, bucket string, page []objectstore.Object, end time.Time) error {
	var odd, plain []objectstore.Object
	for _, o := range page {
		if misspelled(o.Key) {
			odd = append(odd, o)
		} else {
			plain = append(plain, o)
		}
	}
	deleted, err := b.deleteOdd(ctx, bucket, odd, end)
	if err == nil && len(plain) > 0 {
		var failed int
		failed, err = b.gateway.DeleteObjects(ctx, bucket, plain)
		deleted += len(plain) - failed
	}
	if err == nil && deleted == 0 {
		return fmt.Errorf("the gateway does not delete the objects of bucket %s; its log says why. "+
			"Keys of other characters than UTF-8's are deleted where shared_folder is configured", bucket)
	}
	return err
}

// deleteOdd deletes objects whose keys XML cannot carry, as many as there is time for.
func (b *backend) deleteOdd(ctx context.Context, bucket string, odd []objectstore.Object, end time.Time) (deleted int, err error) {
	for _, o := range odd {
		key, err := b.gateway.spelled(ctx, bucket, o.Key)
		if err != nil {
			return deleted, err
		}
		if key != "" {
			err := b.gateway.Call(ctx, objectstore.Request{Method: http.MethodDelete, Bucket: bucket, Key: key}, nil)
			if err != nil {
				return deleted, b.gateway.Explain("delete an object", err)
			}
			deleted++
		}
		if time.Now().After(end) {
			return deleted, nil
		}
	}
	return deleted, nil
}

// A list of objects is XML, which can carry neither control characters nor invalid UTF-8. A
// gateway that stores such keys lists U+FFFD in their place.

const replaced = string(utf8.RuneError)

// misspelled says whether a listed key may differ from the object's.
func misspelled(key string) bool { return strings.Contains(key, replaced) }

// spellings are the characters that are listed as U+FFFD, and that itself.
func spellings() []string {
	all := []string{replaced, "\ufffe", "\uffff"}
	for c := range ' ' {
		if !strings.ContainsRune("\x00\t\n\r", c) {
			all = append(all, string(c))
		}
	}
	return all
}

// spelled returns the key of an object listed under a given key or one with the same beginning;
// "" if there is none. It asks the gateway for each possible character.
func (c *client) spelled(ctx context.Context, bucket, listed string) (string, error) {
	key := ""
	for {
		literal, _, more := strings.Cut(listed, replaced)
		if key += literal; !more {
			return key, nil
		}
		longer, rest, err := c.next(ctx, bucket, key)
		if err != nil || longer == "" {
			return "", err
		}
		key, listed = longer, rest
	}
}

// next extends the beginning of a key by a character listed as U+FFFD. rest is what follows.
func (c *client) next(ctx context.Context, bucket, beginning string) (longer, rest string, err error) {
	for _, s := range spellings() {
		page, err := c.First(ctx, bucket, beginning+s)
		if err != nil {
			return "", "", err
		}
		if len(page) > 0 {
			longer := beginning + s
			return longer, string([]rune(page[0].Key)[utf8.RuneCountInString(longer):]), nil
		}
	}
	return "", "", nil
}
