package s3

import (
	"cmp"
	"net/http"
	"sync"

	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
)

// backend administers one gateway. What exists is asked of the gateway each
// time; only the scans are kept, which a new process begins again.
type backend struct {
	gateway *client
	names   namer
	told    told
	folder  btrfs.Folder // "" where no limit is hard
	shared  string       // where other programs find the buckets; "" nowhere

	round sync.Mutex       // of Reconcile: a scan is one's at a time
	turn  int              // where in its batch the next round begins
	mu    sync.Mutex       // of scans
	scans map[string]*scan // by Instance.Name
}

func open(c Config) (*backend, error) {
	authority, err := cafile.Read(c.CA, c.CAFile)
	if err != nil {
		return nil, err
	}
	endpoint, err := parseEndpoint(c.Endpoint)
	if err != nil {
		return nil, err
	}
	admin, public := endpoint, endpoint
	if c.AdminEndpoint != "" {
		if admin, err = parseEndpoint(c.AdminEndpoint); err != nil {
			return nil, err
		}
	}
	if c.PublicEndpoint != "" {
		if public, err = parseEndpoint(c.PublicEndpoint); err != nil {
			return nil, err
		}
	}
	return &backend{
		gateway: &client{
			endpoint: endpoint, admin: admin, region: c.Region,
			accessKey: c.AccessKeyID, secretKey: c.SecretAccessKey,
			http: &http.Client{Transport: newTransport(authority), CheckRedirect: refuseRedirect},
		},
		names:  newNamer(c.Prefix),
		told:   told{endpoint: public, region: c.Region, ca: authority},
		folder: btrfs.Folder(c.Folder),
		shared: cmp.Or(c.SharedFolder, c.Folder),
		scans:  map[string]*scan{},
	}, nil
}

// refuseRedirect keeps signed requests, which hold secrets, from going
// elsewhere.
func refuseRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close implements services.Closer.
func (b *backend) Close() error {
	b.gateway.http.CloseIdleConnections()
	return nil
}

// SerialBinds implements services.SerialBinder: binds at the same time would
// each write the whole policy, and several times.
func (b *backend) SerialBinds() bool { return true }
