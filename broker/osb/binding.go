package osb

import (
	"code.cloudfoundry.org/brokerapi/v13/domain"

	"github.com/chandler-broker/chandler/broker"
	"github.com/chandler-broker/chandler/services"
)

// bindingBody answers a bind and the fetch of a binding. brokerapi's volume mounts and
// endpoints would have nulls.
type bindingBody struct {
	Metadata        bindingMetadata        `json:"metadata,omitzero"`
	Credentials     any                    `json:"credentials,omitempty"`
	SyslogDrainURL  string                 `json:"syslog_drain_url,omitempty"`
	RouteServiceURL string                 `json:"route_service_url,omitempty"`
	VolumeMounts    []services.VolumeMount `json:"volume_mounts,omitempty"`
	Endpoints       []services.Endpoint    `json:"endpoints,omitempty"`
	Parameters      any                    `json:"parameters,omitempty"` // of a fetch only
}

// bindingMetadata is the specification's ("Binding Metadata Object"), with attributes as
// those of instances ("Vendor Extension Fields").
type bindingMetadata struct {
	domain.BindingMetadata
	Attributes map[string]any `json:"attributes,omitempty"`
}

// IsZero omits metadata that is empty.
func (m bindingMetadata) IsZero() bool { return m.IsEmpty() && len(m.Attributes) == 0 }

func newBindingBody(b domain.GetBindingSpec) bindingBody {
	body := bindingBody{
		Metadata:        bindingMetadata{BindingMetadata: b.Metadata},
		Credentials:     b.Credentials,
		SyslogDrainURL:  b.SyslogDrainURL,
		RouteServiceURL: b.RouteServiceURL,
		Parameters:      b.Parameters,
	}
	if r, ok := b.Credentials.(broker.Reference); ok {
		body.Metadata.Attributes = r.Attributes
	}
	for _, m := range b.VolumeMounts {
		body.VolumeMounts = append(body.VolumeMounts, services.VolumeMount{
			Driver: m.Driver, ContainerDir: m.ContainerDir, Mode: m.Mode, DeviceType: m.DeviceType,
			Device: services.VolumeDevice{VolumeID: m.Device.VolumeId, MountConfig: m.Device.MountConfig},
		})
	}
	for _, e := range b.Endpoints {
		body.Endpoints = append(body.Endpoints, services.Endpoint{Host: e.Host, Ports: append([]string{}, e.Ports...), Protocol: e.Protocol})
	}
	return body
}
