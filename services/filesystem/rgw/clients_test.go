package rgw

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMinioGo(t *testing.T) {
	b := newServer(t).backend(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	writer := objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "rw", access.ReadWrite))
	objecttest.MinioGo(t, writer.Values, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "ro", access.ReadOnly)).Values)
}

// Unbind ends links and uploads that the binding began; what is being sent ends well.
func TestUnbindEndsAccess(t *testing.T) {
	b, ctx := newServer(t).backend(t), objecttest.Context(t)
	inst := objecttest.Provisioned(t, b, "i", deletable)
	bd := objecttest.NewBinding(t, inst, "rw", access.ReadWrite)
	values := objecttest.Bound(t, b, inst, bd).Values
	other := objecttest.Dial(t, objecttest.Bound(t, b, inst, objecttest.NewBinding(t, inst, "other", access.ReadWrite)).Values)
	s := objecttest.Dial(t, values)
	s.MustPut(t, "linked", "value")
	link, err := s.Client.PresignedGetObject(ctx, s.Bucket, "linked", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := objecttest.Fetch(t, link.String()); status != http.StatusOK {
		t.Fatalf("a signed link: %d", status)
	}
	core := minio.Core{Client: s.Client}
	id, err := core.NewMultipartUpload(ctx, s.Bucket, "parts", minio.PutObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	end := beginPut(t, values, "held")
	if err := servicetest.Once(b).Unbind(ctx, inst, bd); err != nil {
		t.Fatal(err)
	}
	if status := objecttest.Fetch(t, link.String()); status != http.StatusForbidden {
		t.Errorf("a signed link after unbind: %d", status)
	}
	_, err = core.PutObjectPart(ctx, s.Bucket, "parts", id, 1, strings.NewReader("x"), 1, minio.PutObjectPartOptions{})
	objecttest.ExpectCode(t, err, noSuchKey)
	t.Logf("an object that was being written: %d", end())
	other.MustPut(t, "key", "value")
	if value, err := other.Read(ctx, "linked"); value != "value" || err != nil {
		t.Errorf("the other binding: %q, %v", value, err)
	}
}
