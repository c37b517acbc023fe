package servicetest

import (
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
)

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
		if told := fmt.Sprint(b.credentials.Values); b.own.Seed.Scrub(told) == told {
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
