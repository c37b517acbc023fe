// Package openwhisk makes an OpenWhisk namespace per instance and a key to it per
// binding, in the database that Chandler's functions' runtimes share. README.md in
// this folder is the operator's page.
package openwhisk

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

// credentialType is "type" in the credentials.
const credentialType = "openwhisk"

// Definition describes the backend "function/wasm".
func Definition() services.Definition {
	return services.Define("function/wasm",
		services.Schemas{InstanceCreate: instanceCreate, InstanceUpdate: instanceUpdate, BindingCreate: bindingCreate},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial, Active: true},
		func(ctx context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return open(ctx, c)
		})
}
