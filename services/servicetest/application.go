package servicetest

import (
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// The actions of an application with its credentials.

func (h *harness) dialled(t *testing.T, c services.Credentials) services.Session {
	t.Helper()
	session, err := h.dial(t, c)
	if err != nil {
		t.Fatalf("connect with the credentials: %v", err)
	}
	t.Cleanup(func() { _ = session.Close() }) // it may have been cut
	return session
}

func (h *harness) dial(t *testing.T, c services.Credentials) (services.Session, error) {
	t.Helper()
	ctx := soon(t)
	return h.Definition.Dial(ctx, delivered(t, c.Values))
}

// delivered passes credentials through JSON, as the credential store does.
func delivered(t *testing.T, values map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatalf("the credentials are not JSON: %v", err)
	}
	var read map[string]any
	if err := json.Unmarshal(data, &read); err != nil {
		t.Fatalf("the credentials are not a JSON object: %v", err)
	}
	return read
}

// works fails t unless an application can write and read with the credentials.
func (h *harness) works(t *testing.T, c services.Credentials) {
	t.Helper()
	session := h.dialled(t, c)
	h.writes(t, session, "key", "value")
	h.reads(t, session, "key", "value")
}

func (h *harness) writes(t *testing.T, s services.Session, key, value string) {
	t.Helper()
	ctx := soon(t)
	if err := s.Write(ctx, key, value); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func (h *harness) reads(t *testing.T, s services.Session, key, want string) {
	t.Helper()
	ctx := soon(t)
	if got, err := s.Read(ctx, key); err != nil || got != want {
		t.Fatalf("read: %q, %v; want %q", got, err, want)
	}
}

func (h *harness) alive(t *testing.T, s services.Session) error {
	t.Helper()
	ctx := soon(t)
	return s.Ping(ctx)
}

// refused fails t if the credentials still work.
func (h *harness) refused(t *testing.T, c services.Credentials) {
	t.Helper()
	session, err := h.dial(t, c)
	if err != nil {
		return
	}
	defer session.Close()
	if h.alive(t, session) == nil {
		t.Error("the revoked credentials still work")
	}
}
