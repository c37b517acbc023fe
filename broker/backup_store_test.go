package broker_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

// On a real store: encrypted, with a manifest, damaged, and nothing is left.
func TestBackupsInStore(t *testing.T) {
	gateway := embeddedtest.VersityGW(t, embedded.VersityGWOptions{})
	s3, err := minio.New(strings.TrimPrefix(gateway.Endpoint(), "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(gateway.AccessKeyID(), gateway.SecretAccessKey(), ""), Region: gateway.Region(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s3.MakeBucket(t.Context(), "backups", minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	objects, err := backup.Open(catalog.BackupStore{
		Endpoint: gateway.Endpoint(), Bucket: "backups", Region: gateway.Region(),
		AccessKeyID: gateway.AccessKeyID(), SecretAccessKey: services.NewSecret(gateway.SecretAccessKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(t, brokertest.Options{Backups: objects})
	data := c.filled(t, "i", brokertest.BackedUpTwin)
	c.update("i", backUp("one"), true).want(t, "200")
	last := c.backups(t, "i").Last
	m, err := objects.Manifest(t.Context(), backup.Name(services.InstanceName("i"), last.ID))
	if err != nil || m.Label != "one" || m.Instance.ID != "i" || m.Instance.Space != "space" || m.Stored.Contents.Counts["keys"] != 10 || len(m.Recipients) != 1 {
		t.Fatalf("manifest %+v, %v", m, err)
	}
	c.provision("copy", from(brokertest.BackedUpTwin, "i"), true).want(t, "201")
	if diff := cmp.Diff(data, c.Backend.Data("copy")); diff != "" {
		t.Errorf("restored (-want +got):\n%s", diff)
	}

	body, err := s3.GetObject(t.Context(), "backups", m.Stored.Object, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(body)
	if err != nil || bytes.Contains(stored, []byte("value of i")) {
		t.Fatalf("%d bytes are not encrypted, or %v", len(stored), err)
	}
	stored[len(stored)/2] ^= 1
	if _, err := s3.PutObject(t.Context(), "backups", m.Stored.Object, bytes.NewReader(stored), int64(len(stored)), minio.PutObjectOptions{}); err != nil {
		t.Fatal(err)
	}
	c.provision("damaged", from(brokertest.BackedUpTwin, "i"), true).want(t, "Invalid")
	if _, ok := c.Backend.Colour("damaged"); ok {
		t.Error("an instance is left")
	}

	c.deprovision("i", true).want(t, "200")
	c.exec(t, "update backups set expires_at = now() - interval '1 second'")
	eventually(t, "the backup and its key are deleted", func() bool {
		left := 0
		for object := range s3.ListObjects(t.Context(), "backups", minio.ListObjectsOptions{Recursive: true}) {
			if object.Err == nil {
				left++
			}
		}
		return left+c.Memory.Len() == 0
	})
}
