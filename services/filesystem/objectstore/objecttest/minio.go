package objecttest

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
)

// MinioGo uses a bucket through minio-go, read-write and read-only.
func MinioGo(t *testing.T, readWrite, readOnly map[string]any) {
	ctx, writer, reader := Context(t), Dial(t, readWrite), Dial(t, readOnly)
	bucket := writer.Bucket
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
			if err := c.use(writer.Client); err != nil {
				t.Errorf("read-write: %v", err)
			}
			if err := c.use(reader.Client); (err != nil) != c.write {
				t.Errorf("read-only: %v", err)
			}
		})
	}
}
