// Package powerdns makes a DNS zone per instance and a TSIG key per binding, on
// a PowerDNS authoritative server that it administers through its HTTP API.
// README.md in this folder is the operator's page.
package powerdns

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
const credentialType = "dns"

// Definition describes the backend "dns/powerdns".
func Definition() services.Definition {
	return services.Define("dns/powerdns",
		services.Schemas{
			InstanceCreate: instanceCreate,
			InstanceUpdate: instanceUpdate,
			BindingCreate:  bindingCreate,
		},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		func(_ context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return newBackend(c)
		})
}
