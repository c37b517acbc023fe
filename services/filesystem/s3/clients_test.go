package s3

import (
	"net/http"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem/objectstore/objecttest"

	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/servicetest"
)

func TestMinioGo(t *testing.T) {
	b := newServer(t).backend(t, "c")
	inst := provisioned(t, b, "i", nil)
	rw := newBinding(t, inst, "rw", access.ReadWrite)
	writer := bound(t, b, inst, rw)
	objecttest.MinioGo(t, writer.Values, bound(t, b, inst, newBinding(t, inst, "ro", access.ReadOnly)).Values)
	t.Run("signed links end with their binding", func(t *testing.T) { linksEnd(t, b, inst, rw, objecttest.Dial(t, writer.Values)) })
}

// linksEnd shows that links which a binding signed work, until it is unbound.
func linksEnd(t *testing.T, b *backend, inst instance, bd binding, s objecttest.Session) {
	s.MustPut(t, "linked", "value")
	link, err := s.Client.PresignedGetObject(objecttest.Context(t), s.Bucket, "linked", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	if status := objecttest.Fetch(t, link.String()); status != http.StatusOK {
		t.Fatalf("a signed link: %d", status)
	}
	if err := servicetest.Once(b).Unbind(objecttest.Context(t), inst, bd); err != nil {
		t.Fatal(err)
	}
	if status := objecttest.Fetch(t, link.String()); status != http.StatusForbidden {
		t.Errorf("a signed link after unbind: %d", status)
	}
}
