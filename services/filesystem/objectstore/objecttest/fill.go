package objecttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/tags"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
)

// Filled is an object that Fill made.
type Filled struct {
	Content string
	Options minio.PutObjectOptions
}

// large is more than what one request of a restore uploads.
const large = 9 << 20

// filled are objects with all that applications can set.
func filled(keys []string) map[string]Filled {
	random := rand.NewChaCha8([32]byte{})
	content := make([]byte, large)
	_, _ = random.Read(content)
	all := map[string]Filled{
		"empty":          {},
		"large/in parts": {string(content), minio.PutObjectOptions{ContentType: "video/mp4", PartSize: 5 << 20}},
		"attributes": {"compressed", minio.PutObjectOptions{
			ContentType: "text/plain; charset=utf-8", ContentEncoding: "gzip", ContentLanguage: "de", ContentDisposition: `attachment; filename="a b.txt"`,
			CacheControl: "max-age=60, private", Expires: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
			UserMetadata: map[string]string{"Owner": "the first", "Empty-Ish": "-", "Quotes": `"'<>&=%20`},
			UserTags:     map[string]string{"a b": "c/d", "plus": "+=@", "empty": ""},
		}},
	}
	for i, key := range keys {
		f := Filled{Content: fmt.Sprint("value ", i)}
		if strings.HasSuffix(key, "/") {
			f.Content = "" // a folder holds no bytes
		}
		all[key] = f
	}
	return all
}

// Fill makes objects with these keys, and others with everything that applications can set. It is
// servicetest.Suite's.
func Fill(keys []string) func(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	return func(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
		t.Helper()
		s, all := Dial(t, mine), filled(keys)
		for key, f := range all {
			s.mustPutFilled(t, mine, key, f)
		}
		s.tag(t, "large/in parts", map[string]string{"kind": "large"}) // which not all gateways do with the upload
		for _, key := range []string{"to be deleted", "to be renamed", "to be tagged", "to be described"} {
			all[key] = Filled{Content: "content of " + key}
			s.mustPutFilled(t, mine, key, all[key])
		}
		return s.sameAs(slices.Collect(maps.Keys(all)))
	}
}

// sameAs returns a function that fails t unless another bucket has the same objects.
func (s Session) sameAs(keys []string) func(t *testing.T, theirs map[string]any) {
	return func(t *testing.T, theirs map[string]any) {
		t.Helper()
		other := Dial(t, theirs)
		for _, key := range keys {
			if diff := cmp.Diff(s.state(t, key), other.state(t, key)); diff != "" {
				t.Errorf("object %q differs (-want +got):\n%s", key, diff)
			}
		}
		if diff := cmp.Diff(s.keys(t), other.keys(t)); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
	}
}

// Change changes what Fill made. It is servicetest.Suite's.
func Change(t *testing.T, mine map[string]any) func(*testing.T, map[string]any) {
	t.Helper()
	s, ctx := Dial(t, mine), Context(t)
	from := func(key string) minio.CopySrcOptions { return minio.CopySrcOptions{Bucket: s.Bucket, Object: key} }
	remove := func(key string) error {
		return s.Client.RemoveObject(ctx, s.Bucket, key, minio.RemoveObjectOptions{})
	}
	copied := func(o minio.CopyDestOptions, key string) error {
		o.Bucket = s.Bucket
		_, err := s.Client.CopyObject(ctx, o, from(key))
		return err
	}
	s.MustPut(t, "attributes", "overwritten") // with content of another size
	s.MustPut(t, "added", "new")
	s.tag(t, "to be tagged", map[string]string{"tagged": "later"})
	for _, err := range []error{
		remove("to be deleted"),
		copied(minio.CopyDestOptions{Object: "renamed"}, "to be renamed"),
		remove("to be renamed"),
		copied(minio.CopyDestOptions{Object: "to be described", ReplaceMetadata: true, UserMetadata: map[string]string{"Described": "later"}}, "to be described"),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.sameAs(s.keys(t))
}

// mustPutFilled writes an object. Not all gateways take an empty one as minio-go sends it.
func (s Session) mustPutFilled(t *testing.T, mine map[string]any, key string, f Filled) {
	t.Helper()
	var err error
	if f.Content == "" {
		err = Raw(t, mine).Call(Context(t), objectstore.Request{Method: http.MethodPut, Bucket: s.Bucket, Key: key}, nil)
	} else {
		_, err = s.Client.PutObject(Context(t), s.Bucket, key, strings.NewReader(f.Content), int64(len(f.Content)), f.Options)
	}
	if err != nil {
		t.Fatalf("put %q: %v", key, err)
	}
}

func (s Session) tag(t *testing.T, key string, values map[string]string) {
	t.Helper()
	set, err := tags.NewTags(values, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Client.PutObjectTagging(Context(t), s.Bucket, key, set, minio.PutObjectTaggingOptions{}); err != nil {
		t.Fatalf("tag %q: %v", key, err)
	}
}

// state is what an application reads of an object. It does not retry, and a key may contain
// anything.
func (s Session) state(t *testing.T, key string) map[string]any {
	t.Helper()
	core, options := minio.Core{Client: s.Client}, minio.GetObjectOptions{}
	options.Set("Accept-Encoding", "identity") // the client would decompress the content
	content, info, header, err := core.GetObject(Context(t), s.Bucket, key, options)
	if err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	defer content.Close()
	var read bytes.Buffer
	if _, err := io.Copy(&read, content); err != nil {
		t.Fatalf("get %q: %v", key, err)
	}
	set, err := s.Client.GetObjectTagging(Context(t), s.Bucket, key, minio.GetObjectTaggingOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != "NoSuchTagSet" {
		t.Fatalf("tags of %q: %v", key, err)
	}
	state := map[string]any{"content": sha256.Sum256(read.Bytes()), "size": read.Len(), "metadata": info.UserMetadata}
	if set != nil {
		state["tags"] = set.ToMap()
	}
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control", "Expires"} {
		state[name] = header.Get(name)
	}
	return state
}

// keys are all keys but those that the suite writes at any time.
func (s Session) keys(t *testing.T) (keys []string) {
	t.Helper()
	for o := range s.Client.ListObjects(Context(t), s.Bucket, minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil {
			t.Fatal(o.Err)
		}
		if !strings.HasPrefix(o.Key, "key ") {
			keys = append(keys, o.Key)
		}
	}
	return keys
}
