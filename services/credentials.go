package services

// Credentials is what an application needs to use an instance.
type Credentials struct {
	// Values is what the platform hands to the application, under the
	// well-known keys of the Service Binding Specification where it has one:
	// type, provider, host, port, uri, username, password, certificates.
	// Values holds JSON's types only.
	Values map[string]any
	// Endpoints is where the application connects to (OSB, "Endpoint
	// Object"); it holds nothing secret.
	Endpoints []Endpoint
	// VolumeMounts is what the platform mounts into the application's
	// containers; only of a backend whose Client says VolumeMounts.
	VolumeMounts []VolumeMount
}

// VolumeMount is a remote volume that a platform mounts into an application's
// containers (OSB, "Volume Mount Object"). Its device may hold secrets.
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
	// VolumeID is the volume's identity to the driver, which mounts one
	// volume once: bindings with credentials of their own need one each.
	VolumeID string `json:"volume_id"`
	// MountConfig is what the driver reads, credentials included; values of
	// JSON's types.
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
