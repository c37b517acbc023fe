package smb

import (
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// provider is "provider" in the credentials: who runs the service, which tells
// it from another provider's of the same type (Service Binding Specification,
// "Well-known Secret Entries").
const provider = "chandler"

// told is what applications are told of the server.
type told struct {
	host string
	port int
}

func newTold(address string) (told, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return told{}, fmt.Errorf("address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return told{}, fmt.Errorf("address: %w", err)
	}
	return told{host: host, port: port}, nil
}

// standardPort is where SMB is spoken unless something else is said.
const standardPort = 445

// source is the share as mount.cifs(8) and the drivers around it name it.
func (t told) source(share string) string { return "//" + t.host + "/" + share }

// credentials are what a binding's application reads, and what platforms mount.
func (t told) credentials(share, user string, password services.Secret, p BindingParams) services.Credentials {
	port := strconv.Itoa(t.port)
	uri := url.URL{
		Scheme: "smb", User: url.UserPassword(user, password.Reveal()),
		Host: net.JoinHostPort(t.host, port), Path: "/" + share,
	}
	values := map[string]any{
		"type":       credentialType,
		"provider":   provider,
		"host":       t.host,
		"port":       float64(t.port),
		"share":      share,
		"username":   user,
		"password":   password.Reveal(),
		"read_only":  p.ReadOnly,
		"uri":        uri.String(),
		"kubernetes": t.kubernetes(share, user, p),
	}
	return services.Credentials{
		Values:       values,
		Endpoints:    []services.Endpoint{{Host: t.host, Ports: []string{port}, Protocol: "tcp"}},
		VolumeMounts: []services.VolumeMount{t.mount(share, user, password, p)},
	}
}

// mount is the share as Cloud Foundry's smbdriver mounts it, which takes username
// and password out of the options before anybody can read them, and ro as a
// text.
func (t told) mount(share, user string, password services.Secret, p BindingParams) services.VolumeMount {
	m := services.VolumeMount{
		Driver: "smbdriver", ContainerDir: p.Mount, Mode: "rw", DeviceType: "shared",
		Device: services.VolumeDevice{
			// The driver mounts a volume once on a machine, with the user that
			// came first: each binding is a volume of its own.
			VolumeID:    user,
			MountConfig: map[string]any{"source": t.source(share), "username": user, "password": password.Reveal()},
		},
	}
	if m.ContainerDir == "" {
		m.ContainerDir = defaultMounts + share
	}
	if p.ReadOnly {
		m.Mode = "r"
		m.Device.MountConfig["ro"] = "true"
	}
	return m
}

// kubernetes are the attributes of a PersistentVolume of csi-driver-smb (its
// docs/driver-parameters.md). The secret that it refers to holds username and
// password.
func (t told) kubernetes(share, user string, p BindingParams) map[string]any {
	options := []any{"vers=3.1.1", "seal", "dir_mode=0777", "file_mode=0777", "noperm"}
	if t.port != standardPort {
		options = append(options, "port="+strconv.Itoa(t.port))
	}
	mode := "ReadWriteMany"
	if p.ReadOnly {
		options, mode = append(options, "ro"), "ReadOnlyMany"
	}
	return map[string]any{
		"driver": "smb.csi.k8s.io",
		// One volume of a name is mounted on a node, as with smbdriver.
		"volume_handle":     user,
		"volume_attributes": map[string]any{"source": t.source(share)},
		"access_modes":      []any{mode},
		"mount_options":     options,
		"read_only":         p.ReadOnly,
	}
}
