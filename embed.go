// Package chandler holds what the binary carries of the repository's files.
package chandler

import _ "embed"

var (
	//go:embed catalog.yml
	catalogYAML []byte
	//go:embed deploy/vault/chandler-policy.hcl
	vaultPolicy string
)

// CatalogYAML returns the shipped catalog.yml.
func CatalogYAML() []byte { return append([]byte{}, catalogYAML...) }

// VaultPolicy returns the policy that the broker's token needs in Vault, for
// the mount and the prefix that are the defaults.
func VaultPolicy() string { return vaultPolicy }
