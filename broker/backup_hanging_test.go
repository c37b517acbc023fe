package broker_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/brokertest"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// hangingStore is a real store of backups behind a proxy.
func hangingStore(t *testing.T) (*backup.Objects, *servicetest.Proxy) {
	t.Helper()
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
	proxy := servicetest.NewProxy(t, gateway.Address())
	endpoint := url.URL{Scheme: "http", Host: proxy.Address()}
	objects, err := backup.Open(catalog.BackupStore{
		Endpoint: endpoint.String(), Bucket: "backups", Region: gateway.Region(),
		AccessKeyID: gateway.AccessKeyID(), SecretAccessKey: services.NewSecret(gateway.SecretAccessKey()),
	})
	if err != nil {
		t.Fatal(err)
	}
	return objects, proxy
}

// While the store hangs in the middle of a backup, or of a deletion, the tenant binds, unbinds and deletes.
func TestHangingStoreBlocksNobody(t *testing.T) {
	for _, what := range []string{"backup", "deletion"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			objects, proxy := hangingStore(t)
			c := client{newHarness(t, brokertest.Options{AsyncWait: time.Millisecond, Backups: objects}), brokertest.CallerContext()}
			c.provision("i", on(brokertest.BackedUp), true)
			eventually(t, "it is ready", func() bool { a, _ := c.fetch("i"); return a.word == "200" })
			c.Backend.Write("i", "key", "value")
			if what == "deletion" {
				c.update("i", backUp("one"), true)
				eventually(t, "it is backed up", func() bool { return c.backups(t, "i").Count == 1 })
				proxy.Freeze()
				c.exec(t, "update backups set state = 'deleting'")
			} else {
				proxy.Freeze()
				c.update("i", backUp("one"), true).want(t, "202")
			}
			time.Sleep(2 * time.Second) // it hangs by now
			c.bind("i", "b", bound(brokertest.BackedUp, ""), true)
			eventually(t, "it is bound meanwhile", func() bool { return c.fetchBinding("i", "b").word == "200" })
			c.unbind("i", "b", true)
			eventually(t, "it is unbound meanwhile", func() bool { _, n := c.Backend.Size(); return n == 0 })
			began := time.Now()
			for deleted := false; !deleted; time.Sleep(100 * time.Millisecond) {
				a := c.deprovision("i", true)
				if _, exists := c.Backend.Colour("i"); !exists && a.word != "202" {
					deleted = true
				}
				if time.Since(began) > 90*time.Second {
					t.Fatal("the instance cannot be deleted")
				}
			}
			t.Logf("deleted after %s", time.Since(began).Round(time.Second))
			proxy.Thaw()
			eventually(t, "nothing is left", func() bool {
				c.exec(t, "update backups set expires_at = now() where state <> 'pending'")
				left := 0
				for m, err := range objects.Manifests(t.Context(), "") {
					_ = m
					if err == nil {
						left++
					}
				}
				return left+c.Memory.Len() == 0
			})
		})
	}
}
