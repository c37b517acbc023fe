package mysql

import (
	"crypto/tls"
	"net/url"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// credentials are what a binding's application reads.
func (s server) credentials(database, user string, password services.Secret) services.Credentials {
	return s.Credentials(credentialType, "tcp", map[string]any{
		"database": database,
		"username": user,
		"password": password.Reveal(),
		"uri":      s.uri(database, user, password.Reveal()),
		"jdbc_url": s.jdbc(database, user, password.Reveal()),
		"tls":      s.tls != tlsDisable,
	})
}

// uri is what the MySQL libraries of Node, Ruby, Python and others read. They
// agree on no option, so it has none.
func (s server) uri(database, user, password string) string {
	u := url.URL{Scheme: "mysql", User: url.UserPassword(user, password), Host: s.Address(), Path: "/" + database}
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
	return "jdbc:mysql://" + s.Address() + "/" + url.PathEscape(database) + "?" + q.Encode()
}

// tlsConfig is for connecting to host; nil: without TLS.
func (s server) tlsConfig(host string) *tls.Config {
	if s.tls == tlsDisable {
		return nil
	}
	c := cafile.TLS(s.CA)
	c.ServerName, c.InsecureSkipVerify = host, s.tls == tlsRequire //nolint:gosec // the operator said that encryption is enough
	return c
}
