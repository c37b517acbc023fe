package openwhisk

import (
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// provider is "provider" in the credentials: who runs the service (Service
// Binding Specification, "Well-known Secret Entries").
const provider = "chandler"

// credentials are what a binding's application reads.
func (b *backend) credentials(namespace string, k accessKey) services.Credentials {
	uri := url.URL{
		Scheme: b.host.scheme, Host: b.host.host, Path: "/api/v1/namespaces/" + namespace,
		User: url.UserPassword(k.uuid.String(), k.key.Reveal()),
	}
	values := map[string]any{
		"type":      credentialType,
		"provider":  provider,
		"host":      b.host.name,
		"port":      float64(b.host.port),
		"uri":       uri.String(),
		"api_host":  b.host.String(),
		"namespace": namespace,
		"auth":      k.auth(),
	}
	if b.ca != "" {
		values["ca"] = b.ca
	}
	return services.Credentials{Values: values, Endpoints: []services.Endpoint{
		{Host: b.host.name, Ports: []string{strconv.Itoa(int(b.host.port))}, Protocol: "tcp"},
	}}
}
