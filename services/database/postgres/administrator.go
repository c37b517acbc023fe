package postgres

import (
	"crypto/rand"
	_ "embed"
	"strings"
)

//go:embed administrator.sql
var administratorSQL string

// AdministratorSQL returns the statements of administrator.sql, which make the
// administrator that Config.URL names. A superuser runs them as one simple
// query, in the database that the URL names, as often as he likes. They hold a
// verifier of the password, which is safe in the server's log; a password that
// is not plain ASCII is there itself, because only the server prepares it
// (SASLprep, RFC 4013).
func AdministratorSQL(name, password string) string {
	salt := make([]byte, scramSaltSize)
	_, _ = rand.Read(salt) // never fails: crypto/rand.Read aborts the program instead
	if verified, err := verifier(password, salt); err == nil && isPlain(password) {
		password = verified
	}
	return strings.NewReplacer(":'administrator'", literal(name), ":'password'", literal(password)).Replace(administratorSQL)
}

func isPlain(password string) bool {
	return !strings.ContainsFunc(password, func(r rune) bool { return r <= ' ' || r > '~' })
}
