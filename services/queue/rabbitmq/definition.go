// Package rabbitmq makes a virtual host per instance and a user per binding, on
// a RabbitMQ server or cluster of version 3.10 or newer whose management API it
// uses. README.md in this folder is the operator's page.
package rabbitmq

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials, as the Service Binding
// Specification's libraries know it.
const credentialType = "rabbitmq"

// Definition describes the backend "queue/rabbitmq".
func Definition() services.Definition {
	return services.Define("queue/rabbitmq",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
