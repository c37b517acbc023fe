// Package backup copies instances to an object store and back. What is stored is compressed
// with zstd, and encrypted with age to a key of the instance and to the operator's.
package backup

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// Objects is the store of backups. It is safe for concurrent use, by several replicas of the
// broker too.
//
// A backup has a name (Name). Its parts are objects whose names begin with that: one or, after a
// crash, several copies "NAME.RANDOM.age", and the manifest "NAME.json".
type Objects struct {
	core     *minio.Core
	bucket   string
	prefix   string // empty, or ends with a slash
	patience patience
}

const (
	copySuffix     = ".age"
	manifestSuffix = ".json"
)

// Name returns the name in the store of an instance's backup. instance is the Instance.Name.
func Name(instance, backup string) string { return instance + "/" + backup }

// Open returns the store. It makes no call.
func Open(c catalog.BackupStore) (*Objects, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	ca, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	at, _, err := endpoint.Parse(c.Endpoint, catalog.StorePorts())
	if err != nil {
		return nil, fmt.Errorf("endpoint: %w", err)
	}
	transport := httpapi.NewTransport(ca, 4)
	transport.ResponseHeaderTimeout = completeTime
	transport.DisableCompression = true
	core, err := minio.NewCore(at.Host, &minio.Options{
		Creds:      credentials.NewStaticV4(c.AccessKeyID, c.SecretAccessKey.Reveal(), ""),
		Secure:     at.Scheme == "https",
		Region:     c.Region,
		Transport:  transport,
		MaxRetries: 5, // a few seconds; the engine repeats the whole copy later
	})
	if err != nil {
		return nil, fmt.Errorf("use the store of backups: %w", err)
	}
	o := &Objects{core: core, bucket: c.Bucket, patience: patience{callTime, completeTime}}
	if c.Prefix != "" {
		o.prefix = c.Prefix + "/"
	}
	return o, nil
}

// Ready returns nil if the store answers and the bucket exists, and otherwise an error for the
// operator.
func (o *Objects) Ready(ctx context.Context) error {
	ctx, cancel := o.patience.call(ctx, 0)
	defer cancel()
	exists, err := o.core.BucketExists(ctx, o.bucket)
	if err == nil && !exists {
		err = minio.ErrorResponse{Code: minio.NoSuchBucket, Message: "the bucket does not exist"}
	}
	return explain("look for the bucket of backups", err)
}

// newCopy returns a name for a copy that no other call uses: a replica that lost its lock, and
// removes what it began, must not remove what its successor has written.
func (o *Objects) newCopy(name string) string {
	return name + "." + strings.ToLower(rand.Text()[:8]) + copySuffix
}

// Delete removes a backup: its manifest first, so that no manifest is without its copy, then
// every copy and every incomplete upload. It succeeds if they are absent, and may be repeated.
func (o *Objects) Delete(ctx context.Context, name string) error {
	if err := o.remove(ctx, name+manifestSuffix); err != nil {
		return err
	}
	ctx, cancel := o.patience.call(ctx, 0)
	defer cancel()
	for object := range o.core.Client.ListObjectsIter(ctx, o.bucket, minio.ListObjectsOptions{Prefix: o.prefix + name + ".", Recursive: true}) {
		if object.Err != nil {
			return explain("list the copies of a backup", object.Err)
		}
		if err := o.remove(ctx, strings.TrimPrefix(object.Key, o.prefix)); err != nil {
			return err
		}
	}
	return o.abort(ctx, name+".")
}

func (o *Objects) remove(ctx context.Context, object string) error {
	ctx, cancel := o.patience.call(ctx, 0)
	defer cancel()
	err := o.core.Client.RemoveObject(ctx, o.bucket, o.prefix+object, minio.RemoveObjectOptions{})
	if isMissing(err) {
		return nil
	}
	return explain("remove a backup", err)
}

// abort removes the incomplete uploads of objects whose names begin with start.
func (o *Objects) abort(ctx context.Context, start string) error {
	ctx, cancel := o.patience.call(ctx, 0)
	defer cancel() // ends the listing
	for upload := range o.core.ListIncompleteUploads(ctx, o.bucket, o.prefix+start, true) {
		err := upload.Err
		if err == nil {
			err = o.core.AbortMultipartUpload(ctx, o.bucket, upload.Key, upload.UploadID)
		}
		if err != nil && codeOf(err) != minio.NoSuchUpload {
			return explain("remove an incomplete upload", err)
		}
	}
	return nil
}
