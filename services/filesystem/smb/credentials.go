package smb

import (
	"cmp"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// clientEndpoint is where applications find the server.
type clientEndpoint struct{ endpoint.Server }

// standardPort is SMB's; ports are those of clientEndpoint.
const standardPort = 445

var ports = map[string]uint16{"smb": standardPort}

// source is the share as mount.cifs(8) and the drivers around it name it.
func (c clientEndpoint) source(share string) string { return "//" + c.Host + "/" + share }

// credentials are what a binding's application reads, and what platforms mount.
func (c clientEndpoint) credentials(share, user string, password services.Secret, p BindingParams) services.Credentials {
	uri := url.URL{Scheme: "smb", User: url.UserPassword(user, password.Reveal()), Host: c.Address(), Path: "/" + share}
	credentials := c.Credentials(credentialType, "tcp", map[string]any{
		"share":      share,
		"username":   user,
		"password":   password.Reveal(),
		"read_only":  p.ReadOnly,
		"uri":        uri.String(),
		"kubernetes": c.kubernetes(share, user, p),
	})
	credentials.VolumeMounts = []services.VolumeMount{c.mount(share, user, password, p)}
	return credentials
}

// mount is the share for Cloud Foundry's smbdriver, which removes username and password from
// the options before anybody can read them, and takes ro as a text.
func (c clientEndpoint) mount(share, user string, password services.Secret, p BindingParams) services.VolumeMount {
	m := services.VolumeMount{
		Driver: "smbdriver", ContainerDir: cmp.Or(p.Mount, defaultMounts+share), Mode: "rw", DeviceType: "shared",
		Device: services.VolumeDevice{
			// The driver mounts a volume once on a machine, as its first user: each
			// binding is a volume of its own.
			VolumeID:    user,
			MountConfig: map[string]any{"source": c.source(share), "username": user, "password": password.Reveal()},
		},
	}
	if p.ReadOnly {
		m.Mode = "r"
		m.Device.MountConfig["ro"] = "true"
	}
	return m
}

// kubernetes are the attributes of a PersistentVolume of csi-driver-smb (its
// docs/driver-parameters.md). Username and password are in the secret of the volume.
func (c clientEndpoint) kubernetes(share, user string, p BindingParams) map[string]any {
	options := []any{"vers=3.1.1", "seal", "dir_mode=0777", "file_mode=0777", "noperm"}
	if c.Port != standardPort {
		options = append(options, "port="+strconv.Itoa(int(c.Port)))
	}
	mode := "ReadWriteMany"
	if p.ReadOnly {
		options, mode = append(options, "ro"), "ReadOnlyMany"
	}
	return map[string]any{
		"driver": "smb.csi.k8s.io",
		// One volume of a name is mounted on a node, as with smbdriver.
		"volume_handle":     user,
		"volume_attributes": map[string]any{"source": c.source(share)},
		"access_modes":      []any{mode},
		"mount_options":     options,
		"read_only":         p.ReadOnly,
	}
}
