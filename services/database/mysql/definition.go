// Package mysql makes a MySQL database per instance and an account per binding
// on a MariaDB server, of version 10.6 or newer, that it administers without
// being root. README.md in this folder is the operator's page.
package mysql

import (
	"context"
	_ "embed"

	"github.com/chandler-broker/chandler/services"
)

var (
	//go:embed catalog.yml
	catalogYAML []byte
	//go:embed schemas/instance-create.json
	instanceCreate []byte
	//go:embed schemas/instance-update.json
	instanceUpdate []byte
	//go:embed schemas/binding-create.json
	bindingCreate []byte
)

// credentialType is "type" in the credentials, as the Service Binding
// Specification and its libraries know it.
const credentialType = "mysql"

// Definition describes the backend "database/mysql".
func Definition() services.Definition {
	return services.Define("database/mysql",
		services.Schemas{InstanceCreate: instanceCreate, InstanceUpdate: instanceUpdate, BindingCreate: bindingCreate},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		func(_ context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return open(c)
		})
}
