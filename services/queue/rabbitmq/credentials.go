package rabbitmq

import (
	"net"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
)

// provider is "provider" in the credentials: who runs the service, which tells
// it from another provider's of the same type (Service Binding Specification,
// "Well-known Secret Entries").
const provider = "chandler"

// credentials are what a binding's application reads.
func (s server) credentials(vhost, user string, password services.Secret) services.Credentials {
	port := strconv.Itoa(int(s.port))
	values := map[string]any{
		"type":     credentialType,
		"provider": provider,
		"host":     s.host,
		"port":     float64(s.port),
		"vhost":    vhost,
		"username": user,
		"password": password.Reveal(),
		"tls":      s.tls,
		"uri":      s.uri(vhost, user, password.Reveal()),
	}
	if s.ca != "" {
		values["ca"] = s.ca
	}
	return services.Credentials{
		Values:    values,
		Endpoints: []services.Endpoint{{Host: s.host, Ports: []string{port}, Protocol: "tcp"}},
	}
}

// uri is a connection URI (RabbitMQ documentation, "AMQP 0-9-1 URI
// Specification").
func (s server) uri(vhost, user, password string) string {
	u := url.URL{
		Scheme: "amqp",
		User:   url.UserPassword(user, password),
		Host:   net.JoinHostPort(s.host, strconv.Itoa(int(s.port))),
		Path:   "/" + vhost,
	}
	if s.tls {
		u.Scheme = "amqps"
	}
	return u.String()
}
