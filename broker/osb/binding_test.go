package osb

import (
	"encoding/json"
	"testing"

	"code.cloudfoundry.org/brokerapi/v13/domain"
)

// A bind and the fetch of a binding answer without nulls.
func TestBindingBody(t *testing.T) {
	for _, c := range []struct {
		name string
		spec domain.GetBindingSpec
		want string
	}{
		{"nothing", domain.GetBindingSpec{}, `{}`},
		{
			"credentials as they are", domain.GetBindingSpec{Credentials: json.RawMessage(`{"port":5432,"uri":"a&b"}`)},
			`{"credentials":{"port":5432,"uri":"a&b"}}`,
		},
		{
			"parameters of a fetch", domain.GetBindingSpec{Parameters: map[string]any{"role": "read_only"}},
			`{"parameters":{"role":"read_only"}}`,
		},
		{
			"log drain and route service", domain.GetBindingSpec{SyslogDrainURL: "syslog://d", RouteServiceURL: "https://r"},
			`{"syslog_drain_url":"syslog://d","route_service_url":"https://r"}`,
		},
		{
			"volume mount", domain.GetBindingSpec{VolumeMounts: []domain.VolumeMount{{
				Driver: "smbdriver", ContainerDir: "/data", Mode: "rw", DeviceType: "shared",
				Device: domain.SharedDevice{VolumeId: "v", MountConfig: map[string]any{"source": "//h/s"}},
			}}},
			`{"volume_mounts":[{"driver":"smbdriver","container_dir":"/data","mode":"rw","device_type":"shared",` +
				`"device":{"volume_id":"v","mount_config":{"source":"//h/s"}}}]}`,
		},
		{
			"volume mount without a configuration", domain.GetBindingSpec{VolumeMounts: []domain.VolumeMount{{
				Driver: "d", ContainerDir: "/data", Mode: "r", DeviceType: "shared", Device: domain.SharedDevice{VolumeId: "v"},
			}}},
			`{"volume_mounts":[{"driver":"d","container_dir":"/data","mode":"r","device_type":"shared","device":{"volume_id":"v"}}]}`,
		},
		{
			"ports are strings", domain.GetBindingSpec{Endpoints: []domain.Endpoint{{Host: "db", Ports: []string{"5432", "8080-8090"}, Protocol: "tcp"}}},
			`{"endpoints":[{"host":"db","ports":["5432","8080-8090"],"protocol":"tcp"}]}`,
		},
		{
			"ports are never null", domain.GetBindingSpec{Endpoints: []domain.Endpoint{{Host: "db"}}},
			`{"endpoints":[{"host":"db","ports":[]}]}`,
		},
		{
			"times", domain.GetBindingSpec{Metadata: domain.BindingMetadata{ExpiresAt: "2026-02-28T23:30:00.0Z", RenewBefore: "2026-02-28T00:00:00.5Z"}},
			`{"metadata":{"expires_at":"2026-02-28T23:30:00.0Z","renew_before":"2026-02-28T00:00:00.5Z"}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, recorded := recordedExchange("PUT", "/")
			if err := x.json(201, newBindingBody(c.spec)); err != nil {
				t.Fatal(err)
			}
			if got := recorded.Body.String(); got != c.want+"\n" {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}
