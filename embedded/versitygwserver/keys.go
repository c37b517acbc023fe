package main

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// maxKey is what S3 allows.
const maxKey = 1024

// distinct is a storage in which different keys are different objects. A folder
// is not: to it x//y is x/y, and d/./e is d/e, so that the second object would
// replace the first. Writes to such keys are refused, and no object is found
// under them. Keys that XML cannot carry are refused as well: they would be listed
// under other names, and nobody could find out how to delete them.
type distinct struct{ backend.Backend }

func refuse(what string) error {
	return s3err.APIError{Code: "InvalidArgument", Description: "The object key " + what + ".", HTTPStatusCode: http.StatusBadRequest}
}

// exists says whether an object can have this key.
func exists(key string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// reading returns an error for a key under which nothing can be read.
func reading(key *string) error {
	switch {
	case key == nil:
		return nil
	case strings.ContainsRune(*key, 0):
		return refuse("holds a zero byte")
	case !exists(*key):
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return nil
}

// writing returns an error for a key that no object may have.
func writing(key *string) error {
	switch {
	case key == nil:
		return nil
	case len(*key) > maxKey:
		return s3err.GetKeyTooLongErr(int64(len(*key)), maxKey)
	case !utf8.ValidString(*key) || strings.ContainsFunc(*key, unlistable):
		return refuse("must be UTF-8 without control characters: a list of objects, which is XML, could not hold it")
	case !exists(*key):
		return refuse("must not begin with / or have an empty part, . or .. between slashes: it would be the same file as another key")
	}
	return nil
}

// unlistable says whether a character is none of XML's ("Extensible Markup
// Language (XML) 1.0", 2.2).
func unlistable(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

func (d distinct) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	if err := writing(in.Key); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	return d.Backend.PutObject(ctx, in)
}

func (d distinct) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	if err := writing(in.Key); err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	if err := copied(in.CopySource); err != nil {
		return s3response.CopyObjectOutput{}, err
	}
	return d.Backend.CopyObject(ctx, in)
}

func (d distinct) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	if err := writing(in.Key); err != nil {
		return s3response.InitiateMultipartUploadResult{}, err
	}
	return d.Backend.CreateMultipartUpload(ctx, in)
}

func (d distinct) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	if err := copied(in.CopySource); err != nil {
		return s3response.CopyPartResult{}, err
	}
	return d.Backend.UploadPartCopy(ctx, in)
}

// copied returns an error for a source (bucket/key) from which nothing can be
// copied.
func copied(source *string) error {
	if source == nil {
		return nil
	}
	_, key, _, err := backend.ParseCopySource(*source)
	if err != nil {
		return err
	}
	return reading(&key)
}

func (d distinct) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	if err := reading(in.Key); err != nil {
		return nil, err
	}
	return d.Backend.GetObject(ctx, in)
}

func (d distinct) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	if err := reading(in.Key); err != nil {
		return nil, err
	}
	return d.Backend.HeadObject(ctx, in)
}

func (d distinct) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	if err := reading(in.Key); err != nil {
		return s3response.GetObjectAttributesResponse{}, err
	}
	return d.Backend.GetObjectAttributes(ctx, in)
}

func (d distinct) GetObjectTagging(ctx context.Context, bucket, key, version string) (map[string]string, error) {
	if err := reading(&key); err != nil {
		return nil, err
	}
	return d.Backend.GetObjectTagging(ctx, bucket, key, version)
}

func (d distinct) PutObjectTagging(ctx context.Context, bucket, key, version string, tags map[string]string) error {
	if err := reading(&key); err != nil {
		return err
	}
	return d.Backend.PutObjectTagging(ctx, bucket, key, version, tags)
}

func (d distinct) DeleteObjectTagging(ctx context.Context, bucket, key, version string) error {
	if err := reading(&key); err != nil {
		return err
	}
	return d.Backend.DeleteObjectTagging(ctx, bucket, key, version)
}

// DeleteObject succeeds where there is no object, as S3 does.
func (d distinct) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	switch err := reading(in.Key); {
	case errors.Is(err, s3err.GetAPIError(s3err.ErrNoSuchKey)):
		return &s3.DeleteObjectOutput{}, nil
	case err != nil:
		return nil, err
	}
	return d.Backend.DeleteObject(ctx, in)
}

func (d distinct) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (s3response.DeleteResult, error) {
	if in.Delete == nil {
		return d.Backend.DeleteObjects(ctx, in)
	}
	var absent []types.DeletedObject
	some, list := *in, *in.Delete
	list.Objects = slices.DeleteFunc(slices.Clone(list.Objects), func(o types.ObjectIdentifier) bool {
		if reading(o.Key) == nil {
			return false
		}
		absent = append(absent, types.DeletedObject{Key: o.Key, VersionId: o.VersionId})
		return true
	})
	some.Delete = &list
	result, err := d.Backend.DeleteObjects(ctx, &some)
	result.Deleted = append(result.Deleted, absent...)
	return result, err
}
