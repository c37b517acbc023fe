package servicetest

import (
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// expectEnded fails t if a session outlives its binding or instance.
func (h *harness) expectEnded(t *testing.T, s services.Session) {
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

// testSecrets checks that credentials are JSON, that a binding's secrets are its own and
// derive from its seed, and that endpoints contain none.
func testSecrets(t *testing.T, h *harness) {
	r := h.provisioned(t)
	one, first := h.bound(t, r, h.Bind[0])
	two, second := h.bound(t, r, h.Bind[0])
	for _, b := range []struct {
		own, other  services.RawBinding
		credentials services.Credentials
	}{{one, two, first}, {two, one, second}} {
		if diff := cmp.Diff(b.credentials.Values, delivered(t, b.credentials.Values)); diff != "" {
			t.Errorf("the credentials change when they pass through JSON (-credentials +JSON):\n%s", diff)
		}
		h.checkVolumeMounts(t, b.credentials.VolumeMounts)
		values, endpoints := fmt.Sprint(b.credentials.Values, b.credentials.VolumeMounts), fmt.Sprint(b.credentials.Endpoints)
		if told := fmt.Sprint(b.credentials.Values); !h.ServerSecrets && b.own.Seed.Scrub(told) == told {
			t.Error("the credentials contain no secret that derives from the seed")
		}
		if b.other.Seed.Scrub(values) != values {
			t.Error("the credentials contain another binding's secret")
		}
		if b.own.Seed.Scrub(endpoints) != endpoints {
			t.Error("the endpoints contain a secret")
		}
		for _, secret := range h.Secrets {
			if strings.Contains(values+endpoints, secret) {
				t.Error("the credentials contain a secret of the backend's configuration")
			}
		}
	}
	// A later binding with the same IDs has other secrets.
	succeeds(t, "unbind", h.unbind(t, r, one))
	again := h.mustBind(t, r, r.binding(t, one.ID, h.Bind[0]))
	if values := fmt.Sprint(again.Values); one.Seed.Scrub(values) != values {
		t.Error("a binding of another seed has the old one's secret")
	}
	h.refused(t, first)
	h.works(t, again)
}

// checkVolumeMounts checks the format of volume mounts (OSB, "Volume Mount Object"), and
// that the backend's Client declares them.
func (h *harness) checkVolumeMounts(t *testing.T, mounts []services.VolumeMount) {
	t.Helper()
	if got := len(mounts) > 0; got != h.Definition.VolumeMounts {
		t.Errorf("the credentials come with %d volume mounts; the backend's Client says %v", len(mounts), h.Definition.VolumeMounts)
	}
	for _, m := range mounts {
		if m.Driver == "" || !path.IsAbs(m.ContainerDir) || m.Mode != "r" && m.Mode != "rw" || m.DeviceType != "shared" || m.Device.VolumeID == "" {
			t.Errorf("invalid volume mount: driver %q, container_dir %q, mode %q, device_type %q, volume_id %q",
				m.Driver, m.ContainerDir, m.Mode, m.DeviceType, m.Device.VolumeID)
		}
		if diff := cmp.Diff(m.Device.MountConfig, delivered(t, m.Device.MountConfig)); diff != "" {
			t.Errorf("mount_config changes when it passes through JSON (-is +JSON):\n%s", diff)
		}
	}
}
