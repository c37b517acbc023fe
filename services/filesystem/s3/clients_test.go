package s3

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMinioGo(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), testContext(t)
	inst := provisioned(t, b, "i", nil)
	rw := newBinding(t, inst, "rw", access.ReadWrite)
	writer := dialled(t, bound(t, b, inst, rw).Values)
	reader := dialled(t, bound(t, b, inst, newBinding(t, inst, "ro", access.ReadOnly)).Values)
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
	if err := servicetest.Once(b).Unbind(testContext(t), inst, bd); err != nil {
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
