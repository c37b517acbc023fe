package mysql

import (
	"crypto/tls"
	"net"
	"net/url"
	"strconv"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// provider is "provider" in the credentials: who runs the service, which tells
// it from another provider's of the same type (Service Binding Specification,
// "Well-known Secret Entries").
const provider = "chandler"

// credentials are what a binding's application reads.
func (s server) credentials(database, user string, password services.Secret) services.Credentials {
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
		"tls":      s.tls != tlsDisable,
	}
	if s.ca != "" {
		values["ca"] = s.ca
	}
	return services.Credentials{
		Values:    values,
		Endpoints: []services.Endpoint{{Host: s.host, Ports: []string{strconv.Itoa(int(s.port))}, Protocol: "tcp"}},
	}
}

func (s server) address() string { return net.JoinHostPort(s.host, strconv.Itoa(int(s.port))) }

// uri is what the MySQL libraries of Node, Ruby, Python and others read. They
// agree on no option, so it has none.
func (s server) uri(database, user, password string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: s.address(), Path: "/" + database}
	return u.String()
}

// jdbc is for MySQL's and MariaDB's drivers (the latter since 3.0 with
// permitMysqlScheme, which the former ignores).
func (s server) jdbc(database, user, password string) string {
	q := url.Values{"user": {user}, "password": {password}, "permitMysqlScheme": {"true"}}
	switch s.tls {
	case tlsRequire:
		q.Set("sslMode", "REQUIRED")
	case tlsVerify:
		q.Set("sslMode", "VERIFY_IDENTITY")
	}
	return "jdbc:mysql://" + s.address() + "/" + url.PathEscape(database) + "?" + q.Encode()
}

// tlsConfig is for connecting to host; nil: without TLS.
func (s server) tlsConfig(host string) *tls.Config {
	if s.tls == tlsDisable {
		return nil
	}
	c := &tls.Config{ServerName: host, RootCAs: cafile.Pool(s.ca), MinVersion: tls.VersionTLS12}
	c.InsecureSkipVerify = s.tls == tlsRequire //nolint:gosec // the operator said that encryption is enough
	return c
}
