// Package postgres makes a PostgreSQL database per instance and a role per
// binding, on a server of version 13 or newer that it administers without
// being a superuser. README.md in this folder is the operator's page.
package postgres

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// credentialType is "type" in the credentials (Service Binding Specification).
const credentialType = "postgresql"

// Definition describes the backend "database/postgres".
func Definition() services.Definition {
	return services.Define("database/postgres",
		services.ReadSchemas(schemas),
		services.Client{Catalog: catalogYAML, CredentialType: credentialType, Dial: dial},
		open)
}

//go:embed administrator.sql
var administratorSQL string

// AdministratorSQL returns the statements of administrator.sql. A superuser runs them as one
// simple query, in the database of Config.URL, any number of times. They hold a verifier of
// the password, which may appear in the server's log, or, if it is not plain ASCII, the
// password itself, because only the server prepares it (SASLprep, RFC 4013).
func AdministratorSQL(name, password string) string {
	salt := make([]byte, scramSaltSize)
	_, _ = rand.Read(salt) // never fails
	if verified, err := verifier(password, salt); err == nil && !strings.ContainsFunc(password, func(r rune) bool { return r <= ' ' || r > '~' }) {
		password = verified
	}
	return strings.NewReplacer(":'administrator'", literal(name), ":'password'", literal(password)).Replace(administratorSQL)
}

const (
	scramIterations = 4096 // what PostgreSQL itself uses, and RFC 7677 asks for at least
	scramSaltSize   = 16
)

// verifier returns what PostgreSQL stores for a password (RFC 5803's parameters, as in
// pg_authid). password is ASCII, which SASLprep does not change.
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

// bindingVerifier is the verifier of a binding's password, with a salt that derives from the seed.
func bindingVerifier(seed *services.Seed) (password services.Secret, verified string, err error) {
	password = seed.Password("password")
	verified, err = verifier(password.Reveal(), seed.Bytes("salt", scramSaltSize))
	seed.Conceal(verified)
	return password, verified, err
}
