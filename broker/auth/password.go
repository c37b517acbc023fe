package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// passwordGuest comes with Basic credentials (RFC 7617). Digests are kept and
// compared, all of them for every request, so that the time an answer takes
// tells neither how much of a password was right nor which users exist.
type passwordGuest struct {
	name      string
	username  [sha256.Size]byte
	passwords [][sha256.Size]byte
}

func newPasswordGuest(c catalog.Client, passwords []services.Secret) passwordGuest {
	guest := passwordGuest{name: c.Name, username: sha256.Sum256([]byte(c.Username))}
	for _, password := range passwords {
		if !password.IsZero() { // an empty password opens nothing
			guest.passwords = append(guest.passwords, sha256.Sum256([]byte(password.Reveal())))
		}
	}
	return guest
}

func (g *guests) byPassword(r *http.Request) (name string, ok bool) {
	username, password, sent := r.BasicAuth()
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	found := -1
	for i := range g.passwords {
		match := 0
		for j := range g.passwords[i].passwords {
			match |= subtle.ConstantTimeCompare(p[:], g.passwords[i].passwords[j][:])
		}
		match &= subtle.ConstantTimeCompare(u[:], g.passwords[i].username[:])
		found = subtle.ConstantTimeSelect(match, i, found)
	}
	if !sent || found < 0 {
		return "", false
	}
	return g.passwords[found].name, true
}
