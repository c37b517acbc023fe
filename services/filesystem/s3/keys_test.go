package s3

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// foreignKeys are keys that a gateway stores which does not refuse them, and that
// XML cannot carry.
func foreignKeys() []string {
	return []string{"\x01\x02", "a\x0b/b\x1f", "\x01\ufffd", "\ufffd", "mixed \x7f\x01\ufffd\ufffe/end", "z\x1f", "plain"}
}

// sharing is a backend that knows the gateway's folder.
func (s *testServer) sharing(t *testing.T) *backend {
	t.Helper()
	b := s.backend(t, "c")
	b.shared = s.BucketsFolder()
	return b
}

// placed puts files below a bucket's folder, as its gateway would.
func (s *testServer) placed(t *testing.T, bucket string, size int, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(s.BucketsFolder(), bucket, name)
		if dir := filepath.Dir(path); dir != filepath.Join(s.BucketsFolder(), bucket) {
			if err := os.MkdirAll(dir, 0o777); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir, 0o777); err != nil { //nolint:gosec // the gateway's user has to delete from it
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(path, make([]byte, size), 0o666); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
}

func deprovisioned(t *testing.T, b *backend, inst instance) {
	t.Helper()
	for range 100 {
		err := servicetest.Once(b).Deprovision(objecttest.Context(t), inst)
		if _, notYet := errors.AsType[*services.NotYetError](err); notYet {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the deletion never ends")
}

// Keys that a list of objects cannot carry are deleted with the bucket: by asking
// for their characters, or in the folder, where names need not even be UTF-8.
func TestForeignKeysAreDeleted(t *testing.T) {
	server := newServer(t)
	for name, c := range map[string]struct {
		b    *backend
		more []string
	}{
		"over S3":       {server.backend(t, "c"), nil},
		"in the folder": {server.sharing(t), []string{"\xff\xfe", "\xe4/\x80", ".sgwtmp/hidden"}},
	} {
		t.Run(name, func(t *testing.T) {
			inst := provisioned(t, c.b, name, func(i *instance) { i.Plan.DeleteContents = true })
			server.placed(t, c.b.names.bucketOf(inst.Name), 1, append(foreignKeys(), c.more...)...)
			deprovisioned(t, c.b, inst)
			if left, err := server.leftOf(t.Context(), inst.Name, nil); len(left) > 0 || err != nil {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// A list that XML cuts short hides nothing: who does not let himself be counted
// may not write.
func TestForeignKeysAreNotOverlooked(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Objects = 5000 })
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("\x01%d", i))
	}
	server.placed(t, b.names.bucketOf(inst.Name), 1, append(names, "zz")...)
	over, note, err := b.measure(objecttest.Context(t), inst.Name, inst.Plan, false, time.Now().Add(time.Minute))
	if !over || !strings.Contains(note, "control characters") || err != nil {
		t.Errorf("over: %t, %q, %v", over, note, err)
	}
	deprovisioned(t, server.sharing(t), inst)
}

// Where the folder is known, what it takes on the disk counts: also what the
// gateway does not list.
func TestFolderIsCounted(t *testing.T) {
	server := newServer(t)
	b := server.sharing(t)
	for name, place := range map[string]func(t *testing.T, bucket string){
		"the gateway's own folder": func(t *testing.T, bucket string) { server.placed(t, bucket, 2<<20, ".sgwtmp/hidden") },
		"directories":              func(t *testing.T, bucket string) { server.placed(t, bucket, 0, strings.Repeat("d/", 500)+"o") },
	} {
		t.Run(name, func(t *testing.T) {
			inst := provisioned(t, b, name, func(i *instance) { i.Plan.DeleteContents = true; i.Plan.Storage = 1 << 20 })
			place(t, b.names.bucketOf(inst.Name))
			notes, err := servicetest.Once(b).Reconcile(objecttest.Context(t), nil, []instance{inst})
			if err != nil || !strings.Contains(notes[inst.ID].Message, "storage: ") {
				t.Errorf("%v, %v", notes, err)
			}
			deprovisioned(t, b, inst)
		})
	}
}

// Uploads that are not completed count as objects: each is a folder.
func TestUploadsCountAsObjects(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.Objects = 3 })
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	for range 4 {
		if _, err := (&minio.Core{Client: s.Client}).NewMultipartUpload(objecttest.Context(t), s.Bucket, "u", minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	notes, err := servicetest.Once(b).Reconcile(objecttest.Context(t), nil, []instance{inst})
	if err != nil || !strings.Contains(notes[inst.ID].Message, "objects: 4 of 3") {
		t.Errorf("%v, %v", notes, err)
	}
}

// Different keys are different objects, or refused; what was taken is listed under
// its key, holds what was put last, and goes with the bucket.
func TestAnyKey(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	values := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values
	me, bucket := objecttest.Raw(t, values), objecttest.Text(t, values, "bucket")
	put := func(key string, body []byte) error {
		return me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: bucket, Key: key, Body: body}, nil)
	}
	stored := map[string]string{}
	for _, key := range append(chosenKeys(), randomKeys(t, 300)...) {
		value := fmt.Sprint("value of ", len(stored))
		if strings.HasSuffix(key, "/") {
			value = ""
		}
		err := put(key, []byte(value))
		for more := 5; more > 0 && objecttest.HungUp(err); more-- {
			err = put(key, []byte(value))
		}
		switch e, ok := errors.AsType[*objectstore.Error](err); {
		case err == nil:
			stored[key] = value
		case !ok || e.Status >= 500:
			t.Errorf("%q: %v", key, err)
		}
	}
	if len(stored) < 50 {
		t.Fatalf("only %d keys were taken", len(stored))
	}
	var listed []string
	for from := ""; ; {
		page, next, err := b.gateway.Objects(ctx, bucket, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page {
			listed = append(listed, o.Key)
		}
		if from = next; next == "" {
			break
		}
	}
	slices.Sort(listed)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(stored)), listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for key, want := range stored {
		var got []byte
		if err := me.Call(ctx, objectstore.Request{Method: http.MethodGet, Bucket: bucket, Key: key}, &got); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v; want %q", key, got, err, want)
		}
	}
	deprovisioned(t, b, inst)
}

func chosenKeys() []string {
	return append(objecttest.OddKeys(),
		"x/y", "x//y", "lead", "/lead", "d/e", "d/./e", "f/g", "f/q/../g", "./h", "h", "i/.", "i/..", "j//", "//", "/", ".", "..", "../k",
		"\x00", "l\x00", "\x01\x02", "a\x0b/b\x1f", "\x7f", "\u0085", "\ufffd", "\ufffe", "\r", "m\rn", "m\r\nn", "ｅ", "e\u0301", "é", ".sgwtmp", ".sgwtmp/x", "p/.sgwtmp/x",
		strings.Repeat("k", 256), strings.Repeat("r/", 512), strings.Repeat("s/", 513)+"s", "CON", "nul.txt", "trail ", " lead", "trail.",
	)
}

func randomKeys(t *testing.T, count int) []string {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any number will do
	t.Logf("seed %d", seed)
	source := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
	parts := []string{"a", "b", "/", "/", "//", ".", "..", "\x01", "\x1f", "\ufffd", "\x7f", "%2f", "%00", " ", "\\", "ä", "\t", "\n", "\r", "🚢", ".sgwtmp", "&<>\"'"}
	var keys []string
	for range count {
		key := ""
		for range 1 + source.IntN(6) {
			key += parts[source.IntN(len(parts))]
		}
		keys = append(keys, key)
	}
	return keys
}

// A key that stands for another file's finds nothing, takes nothing and deletes
// nothing.
func TestKeysOfOneFile(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), objecttest.Context(t)
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	values := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values
	s, me, bucket := objecttest.Dial(t, values), objecttest.Raw(t, values), objecttest.Text(t, values, "bucket")
	s.MustPut(t, "x/y", "value")
	for _, key := range []string{"x//y", "/x/y", "x/./y", "x/q/../y", "./x/y"} {
		for _, c := range []struct {
			name string
			r    objectstore.Request
			want string
		}{
			{"put", objectstore.Request{Method: http.MethodPut, Key: key, Body: []byte("other")}, "InvalidArgument"},
			{"begin an upload", objectstore.Request{Method: http.MethodPost, Key: key, Query: objecttest.Query("uploads")}, "InvalidArgument"},
			{"get", objectstore.Request{Method: http.MethodGet, Key: key}, "NoSuchKey"},
			{"tag", objectstore.Request{Method: http.MethodPut, Key: key, Query: objecttest.Query("tagging"), Body: []byte(`<Tagging><TagSet></TagSet></Tagging>`)}, "NoSuchKey"},
			{"copy to", objectstore.Request{Method: http.MethodPut, Key: key, Header: http.Header{"X-Amz-Copy-Source": {bucket + "/x/y"}}}, "InvalidArgument"},
			{"copy from", objectstore.Request{Method: http.MethodPut, Key: "copy", Header: http.Header{"X-Amz-Copy-Source": {bucket + "/" + key}}}, "NoSuchKey"},
			{"delete", objectstore.Request{Method: http.MethodDelete, Key: key}, ""},
			{"delete many", objectstore.Request{Method: http.MethodPost, Query: objecttest.Query("delete"), Body: []byte(`<Delete><Object><Key>` + key + `</Key></Object></Delete>`)}, ""},
		} {
			c.r.Bucket = bucket
			err := me.Call(ctx, c.r, nil)
			if e, ok := errors.AsType[*objectstore.Error](err); (err == nil) != (c.want == "") || ok && (e.Code != c.want || e.Status >= 500) {
				t.Errorf("%s %s: %v, want %q", c.name, key, err, c.want)
			}
		}
	}
	if got, err := s.Read(ctx, "x/y"); got != "value" || err != nil {
		t.Errorf("x/y: %q, %v", got, err)
	}
	err := me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: bucket, Key: "a\x00b", Body: []byte("x")}, nil)
	if e, ok := errors.AsType[*objectstore.Error](err); !ok || e.Status != http.StatusBadRequest {
		t.Errorf("a zero byte: %v", err)
	}
}

// Programs that make their bucket before they write to it get S3's answer.
func TestOwnBucketIsMade(t *testing.T) {
	b, ctx := newServer(t).backend(t, "c"), objecttest.Context(t)
	mine, theirs := provisioned(t, b, "i", nil), provisioned(t, b, "j", nil)
	for _, role := range []access.Role{access.ReadWrite, access.ReadOnly} {
		me := objecttest.Raw(t, bound(t, b, mine, newBinding(t, mine, string(role), role)).Values)
		for bucket, want := range map[string]string{
			b.names.bucketOf(mine.Name): objectstore.BucketOwned, b.names.bucketOf(theirs.Name): "AccessDenied", "another": "AccessDenied",
		} {
			if err := me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: bucket}, nil); !objectstore.Is(err, want) {
				t.Errorf("%s makes %s: %v, want %s", role, bucket, err, want)
			}
		}
		me.SecretKey = services.NewSecret("wrong")
		if err := me.Call(ctx, objectstore.Request{Method: http.MethodPut, Bucket: b.names.bucketOf(mine.Name)}, nil); !objectstore.Is(err, "SignatureDoesNotMatch") {
			t.Errorf("without the secret: %v", err)
		}
	}
}

// The gateway's own folder is nobody's, by whichever path.
func TestGatewaysFolder(t *testing.T) {
	server, ctx := newServer(t), objecttest.Context(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", func(i *instance) { i.Plan.DeleteContents = true })
	values := bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values
	me, bucket := objecttest.Raw(t, values), objecttest.Text(t, values, "bucket")
	server.placed(t, bucket, 1, ".sgwtmp/there")
	for _, key := range []string{".sgwtmp/there", ".sgwtmp/new", ".sgwtmp", "./.sgwtmp/there", "a/../.sgwtmp/there", ".sgwtmp//there", "a/.sgwtmp", "a/.sgwtmp/b"} {
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead} {
			r := objectstore.Request{Method: method, Bucket: bucket, Key: key}
			if method == http.MethodPut {
				r.Body = []byte("x")
			}
			if e, ok := errors.AsType[*objectstore.Error](me.Call(ctx, r, nil)); !ok || e.Status != http.StatusForbidden {
				t.Errorf("%s %s: %v", method, key, e)
			}
		}
	}
	for name, r := range map[string]objectstore.Request{
		"copy from": {Method: http.MethodPut, Bucket: bucket, Key: "copy", Header: http.Header{"X-Amz-Copy-Source": {bucket + "/.sgwtmp/there"}}},
		"copy to":   {Method: http.MethodPut, Bucket: bucket, Key: ".sgwtmp/copy", Header: http.Header{"X-Amz-Copy-Source": {bucket + "/.sgwtmp/there"}}},
		"upload":    {Method: http.MethodPost, Bucket: bucket, Key: ".sgwtmp/upload", Query: objecttest.Query("uploads")},
	} {
		if err := me.Call(ctx, r, nil); !objectstore.Is(err, "AccessDenied") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var answer []byte
	r := objectstore.Request{Method: http.MethodPost, Bucket: bucket, Query: objecttest.Query("delete"), Body: []byte(`<Delete><Object><Key>.sgwtmp/there</Key></Object></Delete>`)}
	if err := me.Call(ctx, r, &answer); err == nil && !bytes.Contains(answer, []byte("AccessDenied")) {
		t.Errorf("delete many: %s", answer)
	}
	if _, err := os.Stat(filepath.Join(server.BucketsFolder(), bucket, ".sgwtmp/there")); err != nil {
		t.Error(err)
	}
	deprovisioned(t, server.sharing(t), inst)
}
