package smb

import (
	"cmp"
	"context"
	"fmt"

	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/usage"
)

// backend administers one server. It asks the server and its accounts each time what
// exists; only the scans are kept, which a new process begins again.
type backend struct {
	server   server
	samba    samba
	accounts accounts
	folder   folder
	names    namer
	public   clientEndpoint
	scans    usage.Scans
}

func open(_ context.Context, c Config) (*backend, error) {
	_, public, err := endpoint.Parse("smb://"+cmp.Or(c.PublicAddress, c.Address), ports)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	names := newNamer(c.Prefix)
	return &backend{
		server:   server(c.Address),
		samba:    samba{programs: c.Programs, config: c.ConfigFile},
		accounts: accounts{dir: c.Accounts, first: c.FirstID, last: c.LastID, names: names},
		folder:   newFolder(c.Folder, c.Prefix),
		names:    names,
		public:   clientEndpoint{public},
	}, nil
}
