package osb

import (
	"encoding/json"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/services"
)

// A bind and the fetch of a binding answer without nulls.
func TestBindingBody(t *testing.T) {
	for _, c := range []struct {
		name string
		spec broker.Binding
		want string
	}{
		{"nothing", broker.Binding{}, `{}`},
		{
			"credentials as they are", broker.Binding{Credentials: json.RawMessage(`{"port":5432,"uri":"a&b"}`)},
			`{"credentials":{"port":5432,"uri":"a&b"}}`,
		},
		{
			"parameters of a fetch", broker.Binding{Parameters: json.RawMessage(`{"role":"read_only"}`)},
			`{"parameters":{"role":"read_only"}}`,
		},
		{
			"volume mount", broker.Binding{VolumeMounts: []services.VolumeMount{{
				Driver: "smbdriver", ContainerDir: "/data", Mode: "rw", DeviceType: "shared",
				Device: services.VolumeDevice{VolumeID: "v", MountConfig: map[string]any{"source": "//h/s"}},
			}}},
			`{"volume_mounts":[{"driver":"smbdriver","container_dir":"/data","mode":"rw","device_type":"shared",` +
				`"device":{"volume_id":"v","mount_config":{"source":"//h/s"}}}]}`,
		},
		{
			"volume mount without a configuration", broker.Binding{VolumeMounts: []services.VolumeMount{{
				Driver: "d", ContainerDir: "/data", Mode: "r", DeviceType: "shared", Device: services.VolumeDevice{VolumeID: "v"},
			}}},
			`{"volume_mounts":[{"driver":"d","container_dir":"/data","mode":"r","device_type":"shared","device":{"volume_id":"v"}}]}`,
		},
		{
			"ports are strings", broker.Binding{Endpoints: []services.Endpoint{{Host: "db", Ports: []string{"5432", "8080-8090"}, Protocol: "tcp"}}},
			`{"endpoints":[{"host":"db","ports":["5432","8080-8090"],"protocol":"tcp"}]}`,
		},
		{
			"times", broker.Binding{Metadata: broker.BindingMetadata{BindingMetadata: domain.BindingMetadata{ExpiresAt: "2026-02-28T23:30:00.0Z", RenewBefore: "2026-02-28T00:00:00.5Z"}}},
			`{"metadata":{"expires_at":"2026-02-28T23:30:00.0Z","renew_before":"2026-02-28T00:00:00.5Z"}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, recorded := recordedExchange("PUT", "/")
			if err := x.json(201, c.spec); err != nil {
				t.Fatal(err)
			}
			if got := recorded.Body.String(); got != c.want+"\n" {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}
