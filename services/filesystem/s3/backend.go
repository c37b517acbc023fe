package s3

import (
	"cmp"
	"context"
	"fmt"
	"net/url"

	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/httpapi"
	"github.com/chandler-broker/chandler/services/usage"
)

// backend administers one gateway. It asks the gateway each time what exists; only the
// scans are kept, which a new process begins again.
type backend struct {
	gateway *client
	names   namer
	public  clientEndpoint
	folder  btrfs.Folder // "" where no limit is hard
	shared  string       // where other programs find the buckets; "" nowhere
	scans   usage.Scans
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
		if endpoints[key], _, err = endpoint.Parse(text, ports); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	return &backend{
		gateway: &client{
			endpoint: endpoints["endpoint"], admin: endpoints["admin_endpoint"], region: c.Region,
			accessKey: c.AccessKeyID, secretKey: c.SecretAccessKey, transport: httpapi.NewTransport(authority, 8),
		},
		names:  newNamer(c.Prefix),
		public: newClientEndpoint(endpoints["public_endpoint"], c.Region, authority),
		folder: btrfs.Folder(c.Folder),
		shared: cmp.Or(c.SharedFolder, c.Folder),
	}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.gateway.transport.CloseIdleConnections()
	return nil
}

// SerialBinds implements services.SerialBinder: concurrent binds would each write the whole
// policy several times.
func (b *backend) SerialBinds() bool { return true }
