package manila

import (
	"fmt"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/access"
	"github.com/chandler-broker/chandler/services/endpoint"
)

// csi is how Kubernetes finds the Ceph cluster. It is empty if the operator has not said.
type csi struct{ cluster, fileSystem string }

const (
	monitorPort = 6789 // of the protocol's first version
	nfsPort     = 2049
	nfsType     = "nfs"
)

// credentials are what an application reads.
func (b *backend) credentials(protocol Protocol, location string, r rule, bd binding) (services.Credentials, error) {
	i := strings.LastIndex(location, ":/")
	if i <= 0 || strings.ContainsAny(location, " \t\n'\"\\$`;&|<>()") {
		return services.Credentials{}, fmt.Errorf("Manila exports the share as %q, which is not a server and a path", location) //nolint:staticcheck // a name
	}
	servers, dir := location[:i], path.Clean(location[i+1:])
	readOnly := bd.Params.Role == access.ReadOnly
	if protocol == NFS {
		return exported{host: strings.Trim(servers, "[]"), path: dir, readOnly: readOnly}.credentials(r.AccessTo, b.names.identity(bd.Name)), nil
	}
	m := mounted{monitors: strings.Split(servers, ","), path: dir, id: r.AccessTo, readOnly: readOnly}
	return m.credentials(services.NewSecret(r.AccessKey), b.csi)
}

// mounted is a share over CephFS.
type mounted struct {
	monitors []string
	path, id string
	readOnly bool
}

func (m mounted) credentials(key services.Secret, csi csi) (services.Credentials, error) {
	var endpoints []services.Endpoint
	var first endpoint.Server
	monitors := make([]any, len(m.monitors))
	for i, monitor := range m.monitors {
		_, server, err := endpoint.Parse("cephfs://"+monitor, map[string]uint16{"cephfs": monitorPort})
		if err != nil {
			return services.Credentials{}, fmt.Errorf("Manila exports the share at the monitor %q, which is not an address", monitor) //nolint:staticcheck // a name
		}
		if i == 0 {
			first = server
		}
		monitors[i] = monitor
		endpoints = append(endpoints, services.Endpoint{Host: server.Host, Ports: []string{strconv.Itoa(int(server.Port))}, Protocol: "tcp"})
	}
	credentials := first.Credentials(credentialType, "tcp", map[string]any{
		"monitors":  monitors,
		"path":      m.path,
		"id":        m.id,
		"key":       key.Reveal(),
		"keyring":   fmt.Sprintf("[client.%s]\n\tkey = %s\n", m.id, key.Reveal()),
		"read_only": m.readOnly,
		"mount":     m.commands(),
		// What ceph-csi reads in a Secret (docs/cephfs/deploy.md).
		"userID":  m.id,
		"userKey": key.Reveal(),
	})
	credentials.Endpoints = endpoints
	if csi.cluster != "" {
		credentials.Values["kubernetes"] = m.kubernetes(csi)
	}
	return credentials, nil
}

// commands mount the share in /mnt, with the keyring in the file where Ceph's clients look for it
// (ceph-fuse(8), mount.ceph(8)).
func (m mounted) commands() map[string]any {
	monitors, option := strings.Join(m.monitors, ","), ""
	if m.readOnly {
		option = ",ro"
	}
	fuse := fmt.Sprintf("ceph-fuse -m %s -n client.%s -r %s", monitors, m.id, m.path)
	if m.readOnly {
		fuse += " -o ro"
	}
	return map[string]any{
		"ceph_fuse": fuse + " /mnt",
		"kernel":    fmt.Sprintf("mount -t ceph %s:%s /mnt -o name=%s%s", monitors, m.path, m.id, option),
	}
}

// kubernetes are a static PersistentVolume's attributes for ceph-csi (docs/static-pvc.md).
func (m mounted) kubernetes(c csi) map[string]any {
	attributes := map[string]any{"clusterID": c.cluster, "staticVolume": "true", "rootPath": m.path}
	if c.fileSystem != "" {
		attributes["fsName"] = c.fileSystem
	}
	return volume("cephfs.csi.ceph.com", m.id, attributes, m.readOnly)
}

// volume are a PersistentVolume's attributes. One volume of a handle is mounted on a node, so each
// binding needs its own.
func volume(driver, handle string, attributes map[string]any, readOnly bool) map[string]any {
	mode, options := "ReadWriteMany", []any{}
	if readOnly {
		mode, options = "ReadOnlyMany", []any{"ro"}
	}
	return map[string]any{
		"driver":            driver,
		"volume_handle":     handle,
		"volume_attributes": attributes,
		"access_modes":      []any{mode},
		"mount_options":     options,
		"read_only":         readOnly,
	}
}

// exported is a share over NFS.
type exported struct {
	host, path string
	readOnly   bool
}

func (e exported) credentials(address, handle string) services.Credentials {
	host, option := e.host, ""
	if net.ParseIP(host) != nil && strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if e.readOnly {
		option = " -o ro"
	}
	return endpoint.Server{Host: e.host, Port: nfsPort}.Credentials(nfsType, "tcp", map[string]any{
		"path":      e.path,
		"address":   address,
		"read_only": e.readOnly,
		"uri":       "nfs://" + host + e.path,
		"mount":     map[string]any{"kernel": fmt.Sprintf("mount -t nfs %s:%s /mnt%s", host, e.path, option)},
		"kubernetes": volume("nfs.csi.k8s.io", handle,
			map[string]any{"server": e.host, "share": e.path}, e.readOnly),
	})
}
