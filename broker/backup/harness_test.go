package backup_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/chandler-broker/chandler/broker/backup"
	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

const (
	bucket   = "backups"
	instance = "abcdefghijklmnopqrstuvwxyz"
)

// testStore is a real store of backups.
type testStore struct {
	*backup.Objects
	gateway *embedded.VersityGW
	config  catalog.BackupStore
	key     *age.X25519Identity
}

func newStore(t testing.TB) *testStore {
	t.Helper()
	return storeOn(t, "")
}

// storeOn is newStore with its data in a folder.
func storeOn(t testing.TB, folder string) *testStore {
	t.Helper()
	s := &testStore{gateway: embeddedtest.VersityGW(t, embedded.VersityGWOptions{Buckets: folder})}
	s.config = catalog.BackupStore{
		Endpoint: s.gateway.Endpoint(), Bucket: bucket, Region: s.gateway.Region(), Prefix: "chandler/test",
		AccessKeyID: s.gateway.AccessKeyID(), SecretAccessKey: services.NewSecret(s.gateway.SecretAccessKey()),
	}
	if err := s.client(t).MakeBucket(t.Context(), bucket, minio.MakeBucketOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Objects = open(t, s.config)
	var err error
	if s.key, err = age.GenerateX25519Identity(); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, c catalog.BackupStore) *backup.Objects {
	t.Helper()
	o, err := backup.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// client is the bucket's owner, who does what the broker does not.
func (s *testStore) client(t testing.TB) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.gateway.Endpoint(), "http://"), &minio.Options{
		Creds:  credentials.NewStaticV4(s.gateway.AccessKeyID(), s.gateway.SecretAccessKey(), ""),
		Region: s.gateway.Region(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// behind is the store as a client sees it through a proxy, which may fail requests.
func (s *testStore) behind(t testing.TB, change func(http.Handler) http.Handler) *backup.Objects {
	t.Helper()
	at, err := url.Parse(s.gateway.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(at)
		r.Out.Host = r.In.Host // it is signed
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	server := newServer(t, change(proxy))
	c := s.config
	c.Endpoint = server.URL
	return open(t, c)
}

// write stores content under a name.
func (s *testStore) write(t testing.TB, name string, content []byte) backup.Stored {
	t.Helper()
	stored, err := s.Write(t.Context(), name, s.recipients(), 0, nil, copies(content))
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func (s *testStore) recipients() []age.Recipient { return []age.Recipient{s.key.Recipient()} }

// contents are those of a copy of so many bytes.
func contents(content []byte) services.Contents {
	return services.Contents{Format: "test-1", Counts: map[string]int64{"bytes": int64(len(content))}}
}

type copying = func(context.Context, io.Writer) (services.Contents, error)

func copies(content []byte) copying {
	return func(_ context.Context, w io.Writer) (services.Contents, error) {
		_, err := io.Copy(w, bytes.NewReader(content))
		return contents(content), err
	}
}

// read returns what Read gives.
func (s *testStore) read(ctx context.Context, stored backup.Stored, key age.Identity) ([]byte, error) {
	return readFrom(ctx, s.Objects, stored, key)
}

func readFrom(ctx context.Context, o *backup.Objects, stored backup.Stored, key age.Identity) (content []byte, err error) {
	err = o.Read(ctx, key, stored, nil, func(_ context.Context, r io.Reader) (err error) {
		content, err = io.ReadAll(r)
		return err
	})
	return content, err
}

// random are bytes that do not compress.
func random(n int) []byte {
	source := rand.NewChaCha8([32]byte{1})
	content := make([]byte, n)
	_, _ = source.Read(content)
	return content
}

// isEmpty fails t if anything is left in the store: objects, incomplete uploads, or parts of
// them in the gateway's files.
func (s *testStore) isEmpty(t testing.TB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	for o := range s.client(t).ListObjects(ctx, bucket, minio.ListObjectsOptions{Recursive: true}) {
		t.Errorf("left in the store: %s %v", o.Key, o.Err)
	}
	for u := range s.client(t).ListIncompleteUploads(ctx, bucket, "", true) {
		t.Errorf("left in the store: an upload of %s %v", u.Key, u.Err)
	}
	var size int64
	err := filepath.WalkDir(filepath.Join(s.gateway.BucketsFolder(), bucket), func(_ string, d os.DirEntry, err error) error {
		if info, infoErr := d.Info(); err == nil && infoErr == nil && !d.IsDir() {
			size += info.Size()
		}
		return nil
	})
	if err != nil || size > 0 {
		t.Errorf("%d bytes are left in the gateway's files: %v", size, err)
	}
}

// file is the gateway's file of an object.
func (s *testStore) file(stored backup.Stored) string {
	return filepath.Join(s.gateway.BucketsFolder(), bucket, s.config.Prefix, stored.Object)
}

func is(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v; want %v", err, want)
	}
}

// says fails t unless an error has all the words, and no secret.
func (s *testStore) says(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if slices.ContainsFunc([]string{s.gateway.SecretAccessKey(), s.key.String()}, func(secret string) bool { return strings.Contains(err.Error(), secret) }) {
		t.Error("an error contains a secret")
	}
}

// replace stores other content in place of an object.
func (s *testStore) replace(t testing.TB, stored backup.Stored, content []byte) error {
	t.Helper()
	_, err := s.client(t).PutObject(t.Context(), bucket, s.config.Prefix+"/"+stored.Object, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	return err
}

func (s *testStore) core(t testing.TB) minio.Core {
	t.Helper()
	return minio.Core{Client: s.client(t)}
}
