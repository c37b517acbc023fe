// Package nats makes a NATS account per instance, with JetStream, and a user per
// binding, on servers in operator mode: one, or a cluster. README.md in this
// folder is the operator's page.
package nats

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "nats"

// Definition describes the backend "queue/nats".
func Definition() services.Definition {
	return services.Define("queue/nats",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
