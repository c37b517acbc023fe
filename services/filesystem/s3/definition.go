// Package s3 makes an S3 bucket per instance and an access key per binding, on
// a Versity S3 Gateway that it administers over its API. README.md in this
// folder is the operator's page.
package s3

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "s3"

// Definition describes the backend "filesystem/s3".
func Definition() services.Definition {
	return services.Define("filesystem/s3",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
