// Package s3 makes an S3 bucket per instance and an access key per binding, on
// a Versity S3 Gateway that it administers over its API. README.md in this
// folder is the operator's page.
package s3

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
const credentialType = "s3"

// Definition describes the backend "filesystem/s3".
func Definition() services.Definition {
	return services.Define("filesystem/s3",
		services.Schemas{InstanceCreate: instanceCreate, BindingCreate: bindingCreate},
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		func(_ context.Context, c Config) (services.Backend[Plan, InstanceParams, BindingParams], error) {
			return open(c)
		})
}
