// Package mysql makes a MySQL database per instance and an account per binding
// on a MariaDB server, of version 10.6 or newer, that it administers without
// being root. README.md in this folder is the operator's page.
package mysql

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
const credentialType = "mysql"

// Definition describes the backend "database/mysql".
func Definition() services.Definition {
	return services.Define("database/mysql",
		services.ReadSchemas(schemas),
		services.Client{
			Catalog: catalogYAML, CredentialType: credentialType, Dial: dial,
			AdministratorSQL: func(name, password string) string { return AdministratorSQL(name, password, name, "c") },
		},
		open)
}
