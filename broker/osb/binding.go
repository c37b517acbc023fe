package osb

import (
	"fmt"
	"time"

	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
)

// timestamp is the form of the specification's times: UTC, with a fraction.
const timestamp = "2006-01-02T15:04:05.0Z"

// bindingBody answers a bind and the fetch of a binding.
type bindingBody struct {
	Metadata        *bindingMetadata `json:"metadata,omitempty"`
	Credentials     any              `json:"credentials,omitempty"`
	SyslogDrainURL  string           `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string           `json:"route_service_url,omitempty"`
	VolumeMounts    []volumeMount    `json:"volume_mounts,omitempty"`
	Endpoints       []endpoint       `json:"endpoints,omitempty"`
	Parameters      any              `json:"parameters,omitempty"` // of a fetch only
}

// bindingMetadata is the specification's ("Binding Metadata Object"), with what else
// there is to tell, as for instances ("Vendor Extension Fields").
type bindingMetadata struct {
	ExpiresAt   string         `json:"expires_at,omitempty"`
	RenewBefore string         `json:"renew_before,omitempty"`
	Attributes  map[string]any `json:"attributes,omitempty"`
}

// volumeMount is brokerapi's, whose mount_config would be null where it is
// absent.
type volumeMount struct {
	Driver       string `json:"driver"`
	ContainerDir string `json:"container_dir"`
	Mode         string `json:"mode"`
	DeviceType   string `json:"device_type"`
	Device       device `json:"device"`
}

type device struct {
	VolumeID    string         `json:"volume_id"`
	MountConfig map[string]any `json:"mount_config,omitempty"`
}

// endpoint is brokerapi's, whose ports could be null. Ports are strings: a range
// such as "8080-8090" is one too.
type endpoint struct {
	Host     string   `json:"host"`
	Ports    []string `json:"ports"`
	Protocol string   `json:"protocol,omitempty"`
}

func newBindingBody(b domain.GetBindingSpec) (bindingBody, error) {
	metadata, err := newBindingMetadata(b.Metadata)
	if err != nil {
		return bindingBody{}, err
	}
	if r, ok := b.Credentials.(broker.Reference); ok && len(r.Attributes) > 0 {
		if metadata == nil {
			metadata = &bindingMetadata{}
		}
		metadata.Attributes = r.Attributes
	}
	body := bindingBody{
		Metadata:        metadata,
		Credentials:     b.Credentials,
		SyslogDrainURL:  b.SyslogDrainURL,
		RouteServiceURL: b.RouteServiceURL,
		Parameters:      b.Parameters,
	}
	for _, m := range b.VolumeMounts {
		body.VolumeMounts = append(body.VolumeMounts, volumeMount{
			Driver: m.Driver, ContainerDir: m.ContainerDir, Mode: m.Mode, DeviceType: m.DeviceType,
			Device: device{VolumeID: m.Device.VolumeId, MountConfig: m.Device.MountConfig},
		})
	}
	for _, e := range b.Endpoints {
		body.Endpoints = append(body.Endpoints, endpoint{
			Host: e.Host, Ports: append([]string{}, e.Ports...), Protocol: e.Protocol,
		})
	}
	return body, nil
}

func newBindingMetadata(m domain.BindingMetadata) (*bindingMetadata, error) {
	if m.IsEmpty() {
		return nil, nil
	}
	expiresAt, err := formatTime(m.ExpiresAt)
	if err != nil {
		return nil, fmt.Errorf("expires_at: %w", err)
	}
	renewBefore, err := formatTime(m.RenewBefore)
	if err != nil {
		return nil, fmt.Errorf("renew_before: %w", err)
	}
	return &bindingMetadata{ExpiresAt: expiresAt, RenewBefore: renewBefore}, nil
}

// formatTime turns any RFC 3339 time into the specification's form.
func formatTime(value string) (string, error) {
	if value == "" {
		return "", nil
	}
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return "", err
	}
	return t.UTC().Format(timestamp), nil
}
