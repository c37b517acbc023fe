// Package nats makes a NATS account per instance, with JetStream, and a user per
// binding, on servers in operator mode: one, or a cluster. README.md in this
// folder is the operator's page.
package nats

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
	//go:embed schemas/binding-create.json
	bindingCreate []byte
)

// credentialType is "type" in the credentials.
const credentialType = "nats"

// Definition describes the backend "queue/nats".
func Definition() services.Definition {
	return services.Define("queue/nats",
		services.Schemas{InstanceCreate: instanceCreate, BindingCreate: bindingCreate},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		func(_ context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return open(c)
		})
}
