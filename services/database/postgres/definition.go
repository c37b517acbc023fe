// Package postgres makes a PostgreSQL database per instance and a role per
// binding, on a server of version 13 or newer that it administers without
// being a superuser. README.md in this folder is the operator's page.
package postgres

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
const credentialType = "postgresql"

// Definition describes the backend "database/postgres".
func Definition() services.Definition {
	return services.Define("database/postgres",
		services.Schemas{
			InstanceCreate: instanceCreate,
			InstanceUpdate: instanceUpdate,
			BindingCreate:  bindingCreate,
		},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		func(_ context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return open(c)
		})
}
