package s3

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
)

func backedUp(t testing.TB, b *backend, inst instance) ([]byte, services.Contents, error) {
	t.Helper()
	var stream bytes.Buffer
	contents, err := b.Backup(t.Context(), services.BackupRequest[Plan, InstanceParams]{Instance: inst, Writer: &stream})
	return stream.Bytes(), contents, err
}

func restored(t testing.TB, b *backend, inst instance, contents services.Contents, stream io.Reader) error {
	t.Helper()
	_, err := b.Restore(t.Context(), services.RestoreRequest[Plan, InstanceParams]{Instance: inst, Contents: contents, Reader: stream})
	return err
}

// meddling calls before once, with the first download, and cuts that download short.
type meddling struct {
	next   http.RoundTripper
	once   sync.Once
	before func()
	cut    int64 // after so many bytes; 0: never
}

// RoundTrip implements http.RoundTripper.
func (m *meddling) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	download := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/object")
	first := false
	if download {
		m.once.Do(func() { first = true })
	}
	if first && m.cut == 0 {
		m.before()
	}
	resp, err = m.next.RoundTrip(r)
	if first && m.cut > 0 && err == nil {
		resp.Body = &cutBody{resp.Body, m.cut, m.before}
	}
	return resp, err
}

type cutBody struct {
	io.ReadCloser
	left int64
	then func()
}

func (c *cutBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		c.then()
		return 0, errors.New("connection reset")
	}
	n, err := c.ReadCloser.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// What applications do with an object while it is copied, and a connection that breaks.
func TestObjectsChangeMeanwhile(t *testing.T) {
	server := newServer(t)
	old, replacement := strings.Repeat("old ", 1<<20), strings.Repeat("new, and longer ", 1<<19)
	for _, c := range []struct {
		name  string
		cut   int64
		do    func(t *testing.T, s objecttest.Session)
		want  string // of the object in the copy, which is absent if this is empty
		fault string
	}{
		{"deleted before it is read", 0, func(t *testing.T, s objecttest.Session) { remove(t, s, "object") }, "", ""},
		{"replaced before it is read", 0, func(t *testing.T, s objecttest.Session) { s.MustPut(t, "object", replacement) }, replacement, ""},
		{"shortened before it is read", 0, func(t *testing.T, s objecttest.Session) { s.MustPut(t, "object", "x") }, "x", ""},
		{"a broken connection", 1 << 20, func(*testing.T, objecttest.Session) {}, old, ""},
		{"a broken connection, then replaced", 1 << 20, func(t *testing.T, s objecttest.Session) { s.MustPut(t, "object", replacement) }, "", "may have been replaced"},
		{"a broken connection, then deleted", 1 << 20, func(t *testing.T, s objecttest.Session) { remove(t, s, "object") }, "", "may have been replaced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, plain := server.backend(t, "c"), server.backend(t, "c")
			inst := provisioned(t, b, c.name, deletable)
			s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
			s.MustPut(t, "object", old)
			s.MustPut(t, "other", "value")
			b.gateway.Client.Transport = &meddling{next: b.transport, cut: c.cut, before: func() { c.do(t, s) }}
			stream, contents, err := backedUp(t, b, inst)
			if c.fault != "" {
				objecttest.Expect(t, err, c.fault)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			target := provisioned(t, plain, c.name+" target", deletable)
			if err := restored(t, plain, target, contents, bytes.NewReader(stream)); err != nil {
				t.Fatal(err)
			}
			got := objecttest.Dial(t, bound(t, plain, target, newBinding(t, target, "b", access.ReadOnly)).Values)
			value, err := got.Read(objecttest.Context(t), "object")
			if value != c.want || (err != nil) != (c.want == "") {
				t.Errorf("the object has %d bytes, %v; want %d", len(value), err, len(c.want))
			}
			if value, err := got.Read(objecttest.Context(t), "other"); value != "value" || err != nil {
				t.Errorf("the other object: %q, %v", value, err)
			}
		})
	}
}

func deletable(i *instance) { i.Plan.DeleteContents = true }

func remove(t *testing.T, s objecttest.Session, key string) {
	t.Helper()
	if err := s.Client.RemoveObject(objecttest.Context(t), s.Bucket, key, minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
}

// A copy that the plan does not allow is refused before anything is written. So is one that says
// less than it contains.
func TestCopiesThatDoNotFit(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	for i := range 4 {
		s.MustPut(t, fmt.Sprint(i), strings.Repeat("x", 400_000))
	}
	stream, contents, err := backedUp(t, b, inst)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"objects": 4, "bytes": 1_600_000}, contents.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for name, limit := range map[string]func(*Plan){
		"storage": func(p *Plan) { p.Storage = services.Megabyte }, "objects": func(p *Plan) { p.Objects = 3 },
	} {
		target := provisioned(t, b, name, func(i *instance) { limit(&i.Plan) })
		err := restored(t, b, target, contents, bytes.NewReader(stream))
		objecttest.Rejected(t, err, "the backup contains 4 objects with 1.5 MB, which is more than the plan allows: choose a larger plan")
		empty(t, b, target)
	}
	target := provisioned(t, b, "lies", func(i *instance) { i.Plan.Objects = 2; i.Plan.DeleteContents = true })
	contents.Counts["objects"] = 1
	objecttest.Expect(t, restored(t, b, target, contents, bytes.NewReader(stream)), "does not contain what its description says")
}

// empty fails t if there is an object or an unfinished upload.
func empty(t *testing.T, b *backend, inst instance) {
	t.Helper()
	bucket := b.names.bucketOf(inst.Name)
	objects, _, err := b.gateway.Keys(t.Context(), bucket, "")
	uploads, _, uploadErr := b.gateway.Uploads(t.Context(), bucket, "")
	if len(objects)+len(uploads) > 0 || err != nil || uploadErr != nil {
		t.Errorf("the bucket holds %v, %v, %v, %v", objects, uploads, err, uploadErr)
	}
}

// A stream that is cut anywhere is refused, also between two entries, and leaves no upload.
func TestCutStreams(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	for _, key := range []string{"a", "b"} {
		s.MustPut(t, key, "value")
	}
	s.MustPut(t, "large", strings.Repeat("x", 17<<20))
	stream, contents, err := backedUp(t, b, inst)
	if err != nil {
		t.Fatal(err)
	}
	target := provisioned(t, b, "target", deletable)
	cuts := []int{len(stream) - 2<<20, len(stream) - 1024 - 512}
	for cut := 0; cut < 8<<10; cut += 512 {
		cuts = append(cuts, cut)
	}
	for _, cut := range cuts {
		if err := restored(t, b, target, contents, bytes.NewReader(stream[:cut])); err == nil {
			t.Errorf("the first %d of %d bytes were restored", cut, len(stream))
		}
	}
	uploads, _, err := b.gateway.Uploads(t.Context(), b.names.bucketOf(target.Name), "")
	if len(uploads) > 0 || err != nil {
		t.Errorf("uploads are left: %v, %v", uploads, err)
	}
}

// A bucket that is over quota, so that no binding may write, can be copied.
func TestCopyOfALockedBucket(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "key", "value")
	if err := b.gateway.mark(t.Context(), b.names.bucketOf(inst.Name), true); err != nil {
		t.Fatal(err)
	}
	if _, contents, err := backedUp(t, b, inst); err != nil || contents.Counts["objects"] != 1 {
		t.Errorf("%v, %v", contents, err)
	}
}

// What cannot be copied is left out, and the description says so.
func TestWhatIsLeftOut(t *testing.T) {
	server := newServer(t)
	b := server.backend(t, "c")
	inst := provisioned(t, b, "i", deletable)
	s := objecttest.Dial(t, bound(t, b, inst, newBinding(t, inst, "b", access.ReadWrite)).Values)
	s.MustPut(t, "object", "encrypted")
	s.MustPut(t, "other", "value")
	server.placed(t, s.Bucket, 1, "\x01", "a\x0bb")
	b.gateway.Client.Transport = keyless{b.transport}
	_, contents, err := backedUp(t, b, inst)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int64{"objects": 1, "bytes": 5}, contents.Counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	want := []string{
		"1 objects that the gateway does not read without the application's own encryption key",
		"2 objects whose keys contain control characters, which the gateway does not list",
	}
	if diff := cmp.Diff(want, contents.Omitted[2:]); diff != "" {
		t.Errorf("omitted (-want +got):\n%s", diff)
	}
	deprovisioned(t, server.sharing(t), inst)
}

// keyless answers as gateways do for an object that was encrypted with a key of the application's,
// which this gateway does not offer.
type keyless struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (k keyless) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/object") {
		return k.next.RoundTrip(r)
	}
	const answer = "<Error><Code>InvalidRequest</Code><Message>The object was stored using a form of Server Side Encryption.</Message></Error>"
	return &http.Response{StatusCode: http.StatusBadRequest, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(answer)), Request: r}, nil
}
