package servicetest

import (
	"encoding/json"
	"testing"

	"github.com/chandler-broker/chandler/services"
)

// dialled connects with the credentials like an application.
func (h *harness) dialled(t *testing.T, c services.Credentials) services.Session {
	t.Helper()
	session, err := h.dial(t, c)
	succeeds(t, "connect with the credentials", err)
	t.Cleanup(func() { _ = session.Close() }) // it may have been cut
	return session
}

func (h *harness) dial(t *testing.T, c services.Credentials) (services.Session, error) {
	t.Helper()
	return h.Definition.Dial(soon(t), delivered(t, c.Values))
}

// delivered passes credentials through JSON, as the credential store does.
func delivered(t *testing.T, values map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(values)
	succeeds(t, "encode the credentials as JSON", err)
	var read map[string]any
	succeeds(t, "decode the credentials", json.Unmarshal(data, &read))
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
	succeeds(t, "write", s.Write(soon(t), key, value))
}

func (h *harness) reads(t *testing.T, s services.Session, key, want string) {
	t.Helper()
	if got, err := s.Read(soon(t), key); err != nil || got != want {
		t.Fatalf("read: %q, %v; want %q", got, err, want)
	}
}

// lives fails t if something cut a session.
func (h *harness) lives(t *testing.T, s services.Session, after string) {
	t.Helper()
	if err := s.Ping(soon(t)); err != nil {
		t.Errorf("the session was cut: %s: %v", after, err)
	}
}

// ended fails t if a session outlives its binding or instance.
func (h *harness) ended(t *testing.T, s services.Session) {
	t.Helper()
	if s.Ping(soon(t)) == nil {
		t.Error("the live session outlived its binding or instance")
	}
}

// refused fails t if the credentials still work.
func (h *harness) refused(t *testing.T, c services.Credentials) {
	t.Helper()
	session, err := h.dial(t, c)
	if err != nil {
		return
	}
	defer session.Close()
	if session.Ping(soon(t)) == nil {
		t.Error("the revoked credentials still work")
	}
}
