package rabbitmq

import (
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// credentials are what a binding's application reads.
func (s server) credentials(vhost, user string, password services.Secret) services.Credentials {
	return s.Credentials(credentialType, "tcp", map[string]any{
		"vhost":    vhost,
		"username": user,
		"password": password.Reveal(),
		"tls":      s.tls,
		"uri":      s.uri(vhost, user, password.Reveal()),
	})
}

// uri is a connection URI (RabbitMQ documentation, "AMQP 0-9-1 URI
// Specification").
func (s server) uri(vhost, user, password string) string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(user, password), Host: s.Address(), Path: "/" + vhost}
	if s.tls {
		u.Scheme = "amqps"
	}
	return u.String()
}
