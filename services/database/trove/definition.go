// Package trove makes a MySQL or MariaDB server per instance and a user per binding by OpenStack
// Trove. README.md in this folder is the operator's page.
package trove

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// Definition describes the backend "database/trove".
func Definition() services.Definition {
	return services.Define("database/trove",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: mysqldb.CredentialType, Dial: mysqldb.Dial},
		open)
}
