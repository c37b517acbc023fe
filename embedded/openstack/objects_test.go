package openstack

import (
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

// Objects survive kill -9 of the gateway and its store, and a second start. Keystone does not run.
func TestObjects(t *testing.T) {
	dir := reachable(t)
	c := run(t, dir, Objects)
	if c.Identity != nil || c.Database != nil {
		t.Error("servers run that the gateway does not need")
	}
	client := objectClient(t, c)
	holds(t, c.Objects)
	if err := client.MakeBucket(t.Context(), "shop", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.PutObject(t.Context(), "shop", "word", strings.NewReader("anchor"), 6, minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	c.Objects.Kill()
	c.Ceph.OSD.Kill()
	if err := parallel(func() error { return c.Ceph.OSD.Restart(t.Context()) }, func() error { return c.Objects.Restart(t.Context()) }); err != nil {
		t.Fatal(err)
	}
	if o, err := client.StatObject(t.Context(), "shop", "word", minio.StatObjectOptions{}); err != nil || o.Size != 6 {
		t.Errorf("after a restart: %v, %v", o, err)
	}
	holds(t, c.Objects, "bucket shop")
	stop(t, c)
	second := run(t, dir, Objects)
	if o, err := objectClient(t, second).StatObject(t.Context(), "shop", "word", minio.StatObjectOptions{}); err != nil || o.Size != 6 {
		t.Errorf("after the second start: %v, %v", o, err)
	}
}
