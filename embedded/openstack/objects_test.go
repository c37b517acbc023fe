package openstack

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func objectClient(t *testing.T, c *Cloud) *minio.Client {
	t.Helper()
	u, err := url.Parse(c.Objects.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	client, err := minio.New(u.Host, &minio.Options{Creds: credentials.NewStaticV4(c.Objects.AccessKeyID(), c.Objects.SecretAccessKey(), "")})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// bucketTenant has objects in a bucket. The gateway knows no projects.
type bucketTenant struct{ objects int }

func (b *bucketTenant) begin(t *testing.T, c *Cloud, _ string) {
	t.Helper()
	if err := objectClient(t, c).MakeBucket(t.Context(), "shop", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	b.more(t, c)
}

func (b *bucketTenant) more(t *testing.T, c *Cloud) {
	t.Helper()
	_, err := objectClient(t, c).PutObject(t.Context(), "shop", fmt.Sprint(b.objects), strings.NewReader(word), int64(len(word)), minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.objects++
}

func (b *bucketTenant) continues(t *testing.T, c *Cloud, _ string) {
	t.Helper()
	for i := range b.objects {
		if o, err := objectClient(t, c).StatObject(t.Context(), "shop", fmt.Sprint(i), minio.StatObjectOptions{}); err != nil || o.Size != int64(len(word)) {
			t.Errorf("object %d: %v, %v", i, o, err)
		}
	}
	b.more(t, c)
	holds(t, c.Objects, "bucket shop")
}
