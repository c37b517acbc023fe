// Package rgw makes an S3 bucket per instance and an access key per binding on Ceph's RADOS
// gateway. README.md is the operator's page.
package rgw

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
	"github.com/chandler-broker/chandler/services/filesystem/objectstore"
	"github.com/chandler-broker/chandler/services/httpapi"
	"github.com/chandler-broker/chandler/services/usage"
)

// backend administers one gateway. Except for the scans, it holds no state.
type backend struct {
	gateway   *gateway
	transport *http.Transport
	names     namer
	public    objectstore.Endpoint
	scans     usage.Scans
}

func open(_ context.Context, c Config) (*backend, error) {
	authority, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	endpoints := map[string]*url.URL{}
	for key, text := range map[string]string{"endpoint": c.Endpoint, "public_endpoint": cmp.Or(c.PublicEndpoint, c.Endpoint)} {
		if endpoints[key], _, err = endpoint.Parse(text, objectstore.Ports()); err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
	}
	transport := httpapi.NewTransport(authority, 8)
	g, err := newGateway(endpoints["endpoint"], c, transport)
	if err != nil {
		return nil, err
	}
	return &backend{
		gateway: g, transport: transport, names: newNamer(c.Prefix),
		public: objectstore.NewEndpoint(endpoints["public_endpoint"], c.Region, authority),
	}, nil
}

// Close implements services.Closer.
func (b *backend) Close() error {
	b.transport.CloseIdleConnections()
	return nil
}

// SerialBinds implements services.SerialBinder: the gateway refuses concurrent changes of a user.
func (b *backend) SerialBinds() bool { return true }

// Ready implements services.Readier.
func (b *backend) Ready(ctx context.Context) error { return b.gateway.checkRights(ctx) }

var _ services.FootprintReporter[Plan] = (*backend)(nil)

// Footprint implements services.FootprintReporter.
func (b *backend) Footprint(p Plan) services.Space { return services.Space{Storage: p.Storage} }

//go:embed catalog.yml
var catalogYAML []byte

// Definition describes the backend "filesystem/rgw".
func Definition() services.Definition {
	return services.Define("filesystem/rgw",
		objectstore.Schemas(),
		services.Client{Catalog: catalogYAML, CredentialType: objectstore.CredentialType, Dial: objectstore.Dial},
		open)
}
