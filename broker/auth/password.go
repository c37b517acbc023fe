package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/chandler-broker/chandler/broker/catalog"
	"github.com/chandler-broker/chandler/services"
)

// passwordPrincipal sends Basic credentials (RFC 7617). Every request is compared with
// the digests of all passwords, so that the time of an answer reveals neither how much
// of a password was right nor which users exist.
type passwordPrincipal struct {
	name      string
	username  [sha256.Size]byte
	passwords [][sha256.Size]byte
}

func newPasswordPrincipal(c catalog.Client, passwords []services.Secret) passwordPrincipal {
	principal := passwordPrincipal{name: c.Name, username: sha256.Sum256([]byte(c.Username))}
	for _, password := range passwords {
		if !password.IsZero() { // an empty password matches no request
			principal.passwords = append(principal.passwords, sha256.Sum256([]byte(password.Reveal())))
		}
	}
	return principal
}

func (ps *principals) byPassword(r *http.Request) (name string, ok bool) {
	username, password, sent := r.BasicAuth()
	u, p := sha256.Sum256([]byte(username)), sha256.Sum256([]byte(password))
	found := -1
	for i := range ps.passwords {
		match := 0
		for j := range ps.passwords[i].passwords {
			match |= subtle.ConstantTimeCompare(p[:], ps.passwords[i].passwords[j][:])
		}
		match &= subtle.ConstantTimeCompare(u[:], ps.passwords[i].username[:])
		found = subtle.ConstantTimeSelect(match, i, found)
	}
	if !sent || found < 0 {
		return "", false
	}
	return ps.passwords[found].name, true
}
