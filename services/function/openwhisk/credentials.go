package openwhisk

import (
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// credentials are what a binding's application reads.
func (b *backend) credentials(namespace string, k accessKey) services.Credentials {
	host := url.URL{Scheme: b.host.Scheme, Host: b.host.Host}
	uri := url.URL{
		Scheme: host.Scheme, Host: host.Host, Path: "/api/v1/namespaces/" + namespace,
		User: url.UserPassword(k.uuid.String(), k.key.Reveal()),
	}
	return b.server.Credentials(credentialType, "tcp", map[string]any{
		"uri": uri.String(), "api_host": host.String(), "namespace": namespace, "auth": k.auth(),
	})
}
