// Package postgres makes a PostgreSQL database per instance and a role per
// binding, on a server of version 13 or newer that it administers without
// being a superuser. README.md in this folder is the operator's page.
package postgres

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials, as the Service Binding
// Specification and its libraries know it.
const credentialType = "postgresql"

// Definition describes the backend "database/postgres".
func Definition() services.Definition {
	return services.Define("database/postgres",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
