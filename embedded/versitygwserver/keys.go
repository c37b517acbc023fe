package main

import (
	"cmp"
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

// maxKey is the limit of S3, in bytes.
const maxKey = 1024

// distinct is a storage in which different keys are different objects. In a folder they are not:
// x//y is x/y, and d/./e is d/e, so the second object would replace the first. distinct refuses
// writes to such keys, and finds no object under them. It also refuses keys that XML cannot
// contain: lists would show other names, and nobody could delete the objects.
type distinct struct{ backend.Backend }

func refuse(what string) error {
	return s3err.APIError{Code: "InvalidArgument", Description: "The object key " + what + ".", HTTPStatusCode: http.StatusBadRequest}
}

// exists says whether an object can have the key.
func exists(key string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	return true
}

// reading returns an error for a key that nobody can read.
func reading(key *string) error {
	switch {
	case key == nil:
		return nil
	case strings.ContainsRune(*key, 0):
		return refuse("contains a zero byte")
	case !exists(*key):
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return nil
}

// writing returns an error for a key that nobody may write.
func writing(key *string) error {
	switch {
	case key == nil:
		return nil
	case len(*key) > maxKey:
		return s3err.GetKeyTooLongErr(int64(len(*key)), maxKey)
	case !utf8.ValidString(*key) || strings.ContainsFunc(*key, unlistable):
		return refuse("must be UTF-8 without control characters: a list of objects, which is XML, could not contain it")
	case !exists(*key):
		return refuse("must not begin with / or have an empty part, . or .. between slashes: it would be the same file as another key")
	}
	return nil
}

// unlistable says whether XML does not allow a character ("Extensible Markup Language (XML)
// 1.0", 2.2).
func unlistable(r rune) bool {
	return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff
}

// checked makes a call unless its key is at fault.
func checked[In, Out any](ctx context.Context, fault error, call func(context.Context, In) (Out, error), in In) (Out, error) {
	if fault != nil {
		var none Out
		return none, fault
	}
	return call(ctx, in)
}

func (d distinct) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	return checked(ctx, writing(in.Key), d.Backend.PutObject, in)
}

func (d distinct) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (s3response.CopyObjectOutput, error) {
	return checked(ctx, cmp.Or(writing(in.Key), copying(in.CopySource)), d.Backend.CopyObject, in)
}

func (d distinct) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (s3response.InitiateMultipartUploadResult, error) {
	return checked(ctx, writing(in.Key), d.Backend.CreateMultipartUpload, in)
}

func (d distinct) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (s3response.CopyPartResult, error) {
	return checked(ctx, copying(in.CopySource), d.Backend.UploadPartCopy, in)
}

// copying returns an error for a source (bucket/key) that nobody can copy.
func copying(source *string) error {
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
	return checked(ctx, reading(in.Key), d.Backend.GetObject, in)
}

func (d distinct) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	return checked(ctx, reading(in.Key), d.Backend.HeadObject, in)
}

func (d distinct) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	return checked(ctx, reading(in.Key), d.Backend.GetObjectAttributes, in)
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

// DeleteObject succeeds if the object does not exist, as in S3.
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
