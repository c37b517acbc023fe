// Package s3 makes an S3 bucket per instance and an access key per binding on a Versity S3
// Gateway. README.md is the operator's page.
package s3

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/url"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/httpapi"
	"github.com/chandler-broker/chandler/services/usage"
)

// backend administers one gateway. Except for the scans, it holds no state.
type backend struct {
	gateway   *client
	transport *http.Transport
	names     namer
	public    objectstore.Endpoint
	folder    btrfs.Folder // "" where no limit is hard
	snapshots btrfs.Snapshots
	shared    string // where other programs find the buckets; "" nowhere
	scans     usage.Scans
}

func open(_ context.Context, c Config) (*backend, error) {
	authority, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	endpoints := map[string]*url.URL{}
	for key, text := range map[string]string{
		"endpoint": c.Endpoint, "admin_endpoint": cmp.Or(c.AdminEndpoint, c.Endpoint), "public_endpoint": cmp.Or(c.PublicEndpoint, c.Endpoint),
	} {
		if endpoints[key], _, err = endpoint.Parse(text, objectstore.Ports()); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	transport := httpapi.NewTransport(authority, 8)
	return &backend{
		gateway:   newClient(endpoints["endpoint"], endpoints["admin_endpoint"], c, transport),
		transport: transport,
		names:     newNamer(c.Prefix),
		public:    objectstore.NewEndpoint(endpoints["public_endpoint"], c.Region, authority),
		folder:    btrfs.Folder(c.Folder),
		snapshots: btrfs.NewSnapshots(btrfs.Folder(c.Folder), c.Prefix, snapshotsMode),
		shared:    cmp.Or(c.SharedFolder, c.Folder),
	}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// SerialBinds implements services.SerialBinder: each bind writes the whole policy.
func (b *backend) SerialBinds() bool { return true }

//go:embed catalog.yml
var catalogYAML []byte

// Definition describes the backend "filesystem/s3".
func Definition() services.Definition {
	return services.Define("filesystem/s3",
		btrfs.WithSnapshots(objectstore.Schemas()),
		services.Client{Catalog: catalogYAML, CredentialType: objectstore.CredentialType, Dial: objectstore.Dial},
		open)
}
