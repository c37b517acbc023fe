// Package smb makes an SMB share per instance and a user per binding on a local Samba server.
// README.md is the operator's page.
package smb

import (
	"cmp"
	"context"
	"embed"
	"fmt"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/usage"
)

// backend administers one server. Except for the scans, it holds no state.
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

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "smb"

// Definition describes the backend "filesystem/smb".
func Definition() services.Definition {
	return services.Define("filesystem/smb",
		btrfs.WithSnapshots(services.ReadSchemas(schemas)),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial, VolumeMounts: true},
		open)
}
