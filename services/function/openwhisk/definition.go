// Package openwhisk makes an OpenWhisk namespace per instance and a key to it per
// binding, through the administration API of the function runtimes
// (chandler-functions). README.md in this folder is the operator's page.
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

// Definition describes the backend "function/openwhisk".
func Definition() services.Definition {
	return services.Define("function/openwhisk",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial, Active: true, Replaces: services.Replaced{
			Name:   "function/wasm",
			Change: "in its config, admin_url and token replace database_url, which chandler-functions has as FUNCTIONS_DATABASE_URL",
		}},
		open)
}
