package postgres

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
func (s server) credentials(database, user string, password services.Secret) services.Credentials {
	port := strconv.Itoa(int(s.port))
	values := map[string]any{
		"type":     credentialType,
		"provider": provider,
		"host":     s.host,
		"port":     float64(s.port),
		"database": database,
		"username": user,
		"password": password.Reveal(),
		"uri":      s.uri(database, user, password.Reveal()),
		"jdbc_url": s.jdbc(database, user, password.Reveal()),
		"sslmode":  s.sslmode,
		"tls":      s.sslmode != "disable",
	}
	if s.ca != "" {
		values["ca"] = s.ca
	}
	return services.Credentials{
		Values:    values,
		Endpoints: []services.Endpoint{{Host: s.host, Ports: []string{port}, Protocol: "tcp"}},
	}
}

func (s server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// uri is a connection URI as libpq and its like read it (PostgreSQL
// documentation, "Connection URIs").
func (s server) uri(database, user, password string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     s.address(),
		Path:     "/" + database,
		RawQuery: url.Values{"sslmode": {s.sslmode}}.Encode(),
	}
	return u.String()
}

func (s server) jdbc(database, user, password string) string {
	q := url.Values{"user": {user}, "password": {password}, "sslmode": {s.sslmode}}
	return "jdbc:postgresql://" + s.address() + "/" + url.PathEscape(database) + "?" + q.Encode()
}
