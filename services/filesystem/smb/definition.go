// Package smb makes an SMB share per instance and a user per binding, on a
// Samba server that runs on this machine. README.md in this folder is the
// operator's page.
package smb

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "smb"

// Definition describes the backend "filesystem/smb".
func Definition() services.Definition {
	return services.Define("filesystem/smb",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial, VolumeMounts: true},
		open)
}
