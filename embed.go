// Package chandler holds what the binary carries of the repository's files.
package chandler

import _ "embed"

//go:embed deploy/vault/chandler-policy.hcl
var vaultPolicy string

// VaultPolicy returns the policy that the broker's token needs in Vault, for
// the mount and the prefix that are the defaults.
func VaultPolicy() string { return vaultPolicy }

//go:embed deploy/openstack/keystone-policy.yaml
var keystonePolicy string

// KeystonePolicy returns Keystone's policy for the broker's account in OpenStack.
func KeystonePolicy() string { return keystonePolicy }
