package postgres

import (
	"net/url"

	"github.com/chandler-broker/chandler/services"
)

// credentials are what a binding's application reads.
func (s server) credentials(database, user string, password services.Secret) services.Credentials {
	return s.Credentials(credentialType, "tcp", map[string]any{
		"database": database,
		"username": user,
		"password": password.Reveal(),
		"uri":      s.uri(database, user, password.Reveal()),
		"jdbc_url": s.jdbc(database, user, password.Reveal()),
		"sslmode":  s.sslmode,
		"tls":      s.sslmode != "disable",
	})
}

// uri is a connection URI as libpq and its like read it (PostgreSQL
// documentation, "Connection URIs").
func (s server) uri(database, user, password string) string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(user, password),
		Host:     s.Address(),
		Path:     "/" + database,
		RawQuery: url.Values{"sslmode": {s.sslmode}}.Encode(),
	}
	return u.String()
}

func (s server) jdbc(database, user, password string) string {
	q := url.Values{"user": {user}, "password": {password}, "sslmode": {s.sslmode}}
	return "jdbc:postgresql://" + s.Address() + "/" + url.PathEscape(database) + "?" + q.Encode()
}
