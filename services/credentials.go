package services

// Credentials is what an application needs to use an instance.
type Credentials struct {
	// Values is what the platform gives to the application: values of JSON's types,
	// under the well-known keys of the Service Binding Specification where there is one
	// (type, provider, host, port, uri, username, password, certificates).
	Values map[string]any
	// Endpoints are where the application connects (OSB, "Endpoint Object"); they
	// contain no secret.
	Endpoints []Endpoint
	// VolumeMounts is what the platform mounts into the application's containers; only
	// of a backend whose Client says VolumeMounts.
	VolumeMounts []VolumeMount
}

// VolumeMount is a remote volume that a platform mounts into an application's containers
// (OSB, "Volume Mount Object"). Its device may contain secrets.
type VolumeMount struct {
	// Driver is the platform's volume driver, such as "smbdriver".
	Driver string `json:"driver"`
	// ContainerDir is the absolute path in the container.
	ContainerDir string `json:"container_dir"`
	// Mode is "r" or "rw".
	Mode string `json:"mode"`
	// DeviceType is "shared", the only one that the specification has.
	DeviceType string       `json:"device_type"`
	Device     VolumeDevice `json:"device"`
}

// VolumeDevice is what a volume driver mounts (OSB, "Device Object").
type VolumeDevice struct {
	// VolumeID is the volume's identity. The driver mounts a volume once, so each
	// binding needs an ID of its own.
	VolumeID string `json:"volume_id"`
	// MountConfig is what the driver reads, credentials included: values of JSON's types.
	MountConfig map[string]any `json:"mount_config,omitempty"`
}

// Endpoint is a network address that an application connects to (OSB,
// "Endpoint Object"). Ports are decimal numbers or ranges ("8080-8090") as
// strings; Protocol is "tcp", "udp" or "all".
type Endpoint struct {
	Host     string   `json:"host"`
	Ports    []string `json:"ports"`
	Protocol string   `json:"protocol,omitempty"`
}
