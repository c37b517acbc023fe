package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/chandler-broker/chandler/services"
)

const (
	scramIterations = 4096 // what PostgreSQL itself uses, and RFC 7677 asks for at least
	scramSaltSize   = 16
)

// verifier returns what PostgreSQL stores for a password (RFC 5803's
// parameters, as in pg_authid). Sent instead of the password, it keeps the
// password out of the server's log. password is ASCII, so SASLprep has nothing
// to do.
func verifier(password string, salt []byte) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, scramIterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("make a SCRAM verifier: %w", err)
	}
	stored := sha256.Sum256(keyed(salted, "Client Key"))
	encode := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", scramIterations,
		encode(salt), encode(stored[:]), encode(keyed(salted, "Server Key"))), nil
}

func keyed(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message)) // never fails
	return h.Sum(nil)
}

// bindingVerifier is the verifier of a binding's password. Its salt derives
// from the seed too, so that a repeated bind sets the same one.
func bindingVerifier(seed *services.Seed) (password services.Secret, verified string, err error) {
	password = seed.Password("password")
	verified, err = verifier(password.Reveal(), seed.Bytes("salt", scramSaltSize))
	seed.Conceal(verified)
	return password, verified, err
}
