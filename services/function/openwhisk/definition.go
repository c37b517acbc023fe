// Package openwhisk makes an OpenWhisk namespace per instance and a key to it per
// binding, in the database that Chandler's functions' runtimes share. README.md in
// this folder is the operator's page.
package openwhisk

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "openwhisk"

// Definition describes the backend "function/wasm".
func Definition() services.Definition {
	return services.Define("function/wasm",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial, Active: true},
		open)
}
