// Package powerdns makes a DNS zone per instance and a TSIG key per binding, on
// a PowerDNS authoritative server that it administers through its HTTP API.
// README.md in this folder is the operator's page.
package powerdns

import (
	"embed"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials.
const credentialType = "dns"

// Definition describes the backend "dns/powerdns".
func Definition() services.Definition {
	return services.Define("dns/powerdns",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}
