package postgres

import (
	"crypto/rand"
	_ "embed"
	"errors"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

//go:embed administrator.sql
var administratorSQL string

// AdministratorSQL returns the statements of administrator.sql, which make the
// administrator that Config.URL names. A superuser runs them as one simple
// query, in the database that the URL names, as often as he likes. They hold
// the password's SCRAM verifier, not the password.
func AdministratorSQL(name string, password services.Secret) (string, error) {
	for _, r := range password.Reveal() {
		if r <= ' ' || r > '~' { // a verifier of others needs SASLprep (RFC 4013)
			return "", errors.New("the administrator's password must be printable ASCII without spaces")
		}
	}
	salt := make([]byte, scramSaltSize)
	_, _ = rand.Read(salt) // never fails: crypto/rand.Read aborts the program instead
	verified, err := verifier(password.Reveal(), salt)
	if err != nil {
		return "", err
	}
	return strings.NewReplacer(":'administrator'", literal(name), ":'password'", literal(verified)).Replace(administratorSQL), nil
}
