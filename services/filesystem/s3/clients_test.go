package s3

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	aws3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/minio-go/v7"
)

// amazon is the AWS SDK's client as an application sets it up.
func amazon(t *testing.T, values map[string]any) *aws3.Client {
	t.Helper()
	return aws3.New(aws3.Options{
		Region:       text(t, values, "region"),
		BaseEndpoint: aws.String(text(t, values, "endpoint")),
		UsePathStyle: values["path_style"].(bool),
		Credentials:  awscredentials.NewStaticCredentialsProvider(text(t, values, "access_key_id"), text(t, values, "secret_access_key"), ""),
	})
}

func TestAWSSDK(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	values := bound(t, b, inst, newBinding(t, inst, "rw", readWrite)).Values
	reader := amazon(t, bound(t, b, inst, newBinding(t, inst, "ro", readOnly)).Values)
	client, bucket := amazon(t, values), aws.String(text(t, values, "bucket"))
	for _, c := range []struct {
		name  string
		use   func(*aws3.Client) error
		write bool // a read-only binding is refused it
	}{
		{"head bucket", func(c *aws3.Client) error {
			_, err := c.HeadBucket(ctx, &aws3.HeadBucketInput{Bucket: bucket})
			return err
		}, false},
		{"put", func(c *aws3.Client) error {
			_, err := c.PutObject(ctx, &aws3.PutObjectInput{
				Bucket: bucket, Key: aws.String("folder/ä key+&.txt"), Body: strings.NewReader("value"),
				ContentType: aws.String("text/plain"), Metadata: map[string]string{"by": "sdk"},
			})
			return err
		}, true},
		{"put nothing", func(c *aws3.Client) error {
			_, err := c.PutObject(ctx, &aws3.PutObjectInput{Bucket: bucket, Key: aws.String("empty"), Body: strings.NewReader("")})
			return err
		}, true},
		{"get", func(c *aws3.Client) error { return amazonReads(ctx, c, bucket, "folder/ä key+&.txt", "value") }, false},
		{"copy", func(c *aws3.Client) error {
			_, err := c.CopyObject(ctx, &aws3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String(*bucket + "/empty")})
			return err
		}, true},
		{"list", func(c *aws3.Client) error {
			_, err := c.ListObjectsV2(ctx, &aws3.ListObjectsV2Input{Bucket: bucket, Delimiter: aws.String("/")})
			return err
		}, false},
		{"upload in parts", func(c *aws3.Client) error { return amazonParts(ctx, c, bucket) }, true},
		{"tag", func(c *aws3.Client) error {
			_, err := c.PutObjectTagging(ctx, &aws3.PutObjectTaggingInput{
				Bucket: bucket, Key: aws.String("empty"), Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("k"), Value: aws.String("v")}}},
			})
			return err
		}, true},
		{"delete many", func(c *aws3.Client) error {
			out, err := c.DeleteObjects(ctx, &aws3.DeleteObjectsInput{
				Bucket: bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("empty")}, {Key: aws.String("copy")}}},
			})
			if err == nil && len(out.Errors) > 0 {
				return &apiError{Code: aws.ToString(out.Errors[0].Code)}
			}
			return err
		}, true},
		{"delete", func(c *aws3.Client) error {
			_, err := c.DeleteObject(ctx, &aws3.DeleteObjectInput{Bucket: bucket, Key: aws.String("parts")})
			return err
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.use(client); err != nil {
				t.Errorf("read-write: %v", err)
			}
			if err := c.use(reader); (err != nil) != c.write {
				t.Errorf("read-only: %v", err)
			}
		})
	}
}

func amazonReads(ctx context.Context, c *aws3.Client, bucket *string, key, want string) error {
	out, err := c.GetObject(ctx, &aws3.GetObjectInput{Bucket: bucket, Key: aws.String(key)})
	if err != nil {
		return err
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err == nil && string(got) != want {
		return &apiError{Code: "Read", Message: string(got)}
	}
	return err
}

func amazonParts(ctx context.Context, c *aws3.Client, bucket *string) error {
	key := aws.String("parts")
	begun, err := c.CreateMultipartUpload(ctx, &aws3.CreateMultipartUploadInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	var parts []types.CompletedPart
	for i, size := range []int{5 << 20, 10} {
		part, err := c.UploadPart(ctx, &aws3.UploadPartInput{
			Bucket: bucket, Key: key, UploadId: begun.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(make([]byte, size)),
		})
		if err != nil {
			return err
		}
		parts = append(parts, types.CompletedPart{ETag: part.ETag, PartNumber: aws.Int32(int32(i + 1))})
	}
	_, err = c.CompleteMultipartUpload(ctx, &aws3.CompleteMultipartUploadInput{
		Bucket: bucket, Key: key, UploadId: begun.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	return err
}

func TestMinioGo(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	rw := newBinding(t, inst, "rw", readWrite)
	writer := dialled(t, bound(t, b, inst, rw).Values)
	reader := dialled(t, bound(t, b, inst, newBinding(t, inst, "ro", readOnly)).Values)
	bucket := writer.bucket
	big := bytes.Repeat([]byte("x"), 17<<20) // in parts
	for _, c := range []struct {
		name  string
		use   func(*minio.Client) error
		write bool
	}{
		{"bucket exists", func(c *minio.Client) error { _, err := c.BucketExists(ctx, bucket); return err }, false},
		{"location", func(c *minio.Client) error { _, err := c.GetBucketLocation(ctx, bucket); return err }, false},
		{"put in parts", func(c *minio.Client) error {
			_, err := c.PutObject(ctx, bucket, "big", bytes.NewReader(big), int64(len(big)), minio.PutObjectOptions{PartSize: 8 << 20})
			return err
		}, true},
		{"put of unknown size", func(c *minio.Client) error {
			_, err := c.PutObject(ctx, bucket, "stream", io.MultiReader(strings.NewReader("a"), strings.NewReader("b")), -1, minio.PutObjectOptions{PartSize: 5 << 20})
			return err
		}, true},
		{"stat", func(c *minio.Client) error {
			_, err := c.StatObject(ctx, bucket, "big", minio.StatObjectOptions{})
			return err
		}, false},
		{"compose", func(c *minio.Client) error {
			_, err := c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: bucket, Object: "both"}, minio.CopySrcOptions{Bucket: bucket, Object: "big"}, minio.CopySrcOptions{Bucket: bucket, Object: "stream"})
			return err
		}, true},
		{"remove", func(c *minio.Client) error {
			return c.RemoveObject(ctx, bucket, "stream", minio.RemoveObjectOptions{})
		}, true},
		{"remove what is not there", func(c *minio.Client) error {
			return c.RemoveObject(ctx, bucket, "stream", minio.RemoveObjectOptions{})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.use(writer.client); err != nil {
				t.Errorf("read-write: %v", err)
			}
			if err := c.use(reader.client); (err != nil) != c.write {
				t.Errorf("read-only: %v", err)
			}
		})
	}
	t.Run("signed links end with their binding", func(t *testing.T) { linksEnd(t, b, inst, rw, writer) })
}

// linksEnd shows that links which a binding signed work, until it is unbound.
func linksEnd(t *testing.T, b *backend, inst instance, bd binding, s *session) {
	s.mustPut(t, "linked", "value")
	link, err := s.client.PresignedGetObject(testContext(t), s.bucket, "linked", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := fetched(t, link.String()); status != http.StatusOK {
		t.Fatalf("a signed link: %d", status)
	}
	if err := b.Unbind(testContext(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if status := fetched(t, link.String()); status != http.StatusForbidden {
		t.Errorf("a signed link after unbind: %d", status)
	}
}

func fetched(t *testing.T, link string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(testContext(t), http.MethodGet, link, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
