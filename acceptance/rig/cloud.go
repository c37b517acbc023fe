package rig

import (
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/embedded/openstack"
)

// cloudFamily is a backend of deploy/openstack/catalog.yml. All of them share one cloud.
type cloudFamily struct {
	backend string
	service openstack.Service
	// server is the backend's server in a running cloud, and url its API.
	server func(*openstack.Cloud) cloudServer
	url    func(*openstack.Cloud) string
	// variable is that of the catalog in which the brokers find the API.
	variable string
}

// cloudServer is a server of package embedded/openstack.
type cloudServer interface {
	embedded.Process
	Holds(ctx context.Context) ([]string, error)
}

func cloudFamilies() []cloudFamily {
	return []cloudFamily{
		{
			"designate", openstack.DNS, func(c *openstack.Cloud) cloudServer { return c.DNS },
			func(c *openstack.Cloud) string { return c.DNS.URL() }, "DESIGNATE_ENDPOINT",
		},
		{
			"manila", openstack.Shares, func(c *openstack.Cloud) cloudServer { return c.Shares },
			func(c *openstack.Cloud) string { return c.Shares.URL() }, "MANILA_ENDPOINT",
		},
		{
			"trove", openstack.Databases, func(c *openstack.Cloud) cloudServer { return c.Databases },
			func(c *openstack.Cloud) string { return c.Databases.URL() + "/%(project_id)s" }, "TROVE_ENDPOINT",
		},
		{
			"rgw", openstack.Objects, func(c *openstack.Cloud) cloudServer { return c.Objects },
			func(c *openstack.Cloud) string { return c.Objects.Endpoint() }, "RGW_ENDPOINT",
		},
	}
}

func cloudFamilyOf(backend string) (cloudFamily, bool) {
	families := cloudFamilies()
	at := slices.IndexFunc(families, func(f cloudFamily) bool { return f.backend == backend })
	if at < 0 {
		return cloudFamily{}, false
	}
	return families[at], true
}

// CloudBackends are the names of the backends on OpenStack and Ceph that a Deployment can have.
func CloudBackends() []string {
	var names []string
	for _, f := range cloudFamilies() {
		names = append(names, f.backend)
	}
	return names
}

// setUpCloud starts the cloud of those backends that need one, and puts a proxy before Keystone.
func (d *Deployment) setUpCloud(ctx context.Context) (err error) {
	var services []openstack.Service
	for _, name := range d.Backends {
		if f, ok := cloudFamilyOf(name); ok {
			services = append(services, f.service)
		}
	}
	if len(services) == 0 {
		return nil
	}
	d.Cloud, err = openstack.Start(ctx, openstack.Options{
		Options: embedded.Options{Dir: d.path("cloud"), NoSync: !d.Durable}, Services: services, Progress: io.Discard,
	})
	if err != nil {
		return err
	}
	// Clients of shares run Ceph's programs, also those of this process.
	path := d.Cloud.Programs() + string(os.PathListSeparator) + os.Getenv("PATH")
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	maps.Copy(d.env, d.Cloud.Variables())
	d.env["PATH"] = path
	if o := d.Cloud.Objects; o != nil {
		d.Secrets.Add("the secret key of the gateway's administrator", o.SecretAccessKey())
	}
	if i := d.Cloud.Identity; i != nil {
		d.Secrets.Add("the broker's password in Keystone", i.Broker().Password)
		d.Keystone = &Server{Backend: "keystone", process: i, holds: i.Holds}
		d.env["OPENSTACK_AUTH_URL"], err = d.Keystone.front(i.AuthURL())
	}
	return err
}

// startCloudServer puts a proxy before the backend's server, which runs.
func (d *Deployment) startCloudServer(f cloudFamily, s *Server) (map[string]string, error) {
	server := f.server(d.Cloud)
	s.process, s.holds = server, server.Holds
	address, err := s.front(f.url(d.Cloud))
	return map[string]string{f.variable: address}, err
}

// front puts a proxy before the server at a URL, and returns the URL of the proxy.
func (s *Server) front(url string) (string, error) {
	scheme, rest, _ := strings.Cut(url, "://")
	address, path, _ := strings.Cut(rest, "/")
	p, err := s.proxy(address)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(scheme+"://"+p.Address()+"/"+path, "/"), nil
}

// closeCloud ends the cloud's servers.
func (d *Deployment) closeCloud(ctx context.Context) error {
	if d.Cloud == nil {
		return nil
	}
	var err error
	if d.Keystone != nil {
		err = d.Keystone.close(ctx)
	}
	return errors.Join(err, d.Cloud.Stop(ctx))
}
