package osb

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/chandler-broker/chandler/broker/catalog"
)

// credentials is who may call. Digests are kept and compared, all of them for
// every request, so that the time an answer takes tells neither how much of a
// password was right nor which users exist.
type credentials []client

type client struct {
	platform  string
	username  [sha256.Size]byte
	passwords [][sha256.Size]byte
}

func digest(platforms []catalog.Platform) credentials {
	clients := make(credentials, 0, len(platforms))
	for _, p := range platforms {
		c := client{platform: p.Name, username: sha256.Sum256([]byte(p.Username))}
		for _, password := range p.Passwords {
			if !password.IsZero() { // an empty password opens nothing
				c.passwords = append(c.passwords, sha256.Sum256([]byte(password.Reveal())))
			}
		}
		clients = append(clients, c)
	}
	return clients
}

// authenticate returns the platform that the request's Basic credentials
// (RFC 7617) belong to.
func (c credentials) authenticate(r *http.Request) (platform string, ok bool) {
	username, password, sent := r.BasicAuth()
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	found := -1
	for i := range c {
		match := 0
		for j := range c[i].passwords {
			match |= subtle.ConstantTimeCompare(p[:], c[i].passwords[j][:])
		}
		match &= subtle.ConstantTimeCompare(u[:], c[i].username[:])
		found = subtle.ConstantTimeSelect(match, i, found)
	}
	if !sent || found < 0 {
		return "", false
	}
	return c[found].platform, true
}
