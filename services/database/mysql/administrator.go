package mysql

import (
	"crypto/sha1" //nolint:gosec // the protocol's, see hash
	_ "embed"
	"encoding/hex"
	"strings"
)

//go:embed administrator.sql
var administratorSQL string

// administratorVersion is the version that administrator.sql notes in the server; raise
// both when it has to be run again.
const administratorVersion = 2

// AdministratorSQL returns the statements of administrator.sql, which make the
// administrator that Config.URL names, in the database that the URL names and
// for the backend of that prefix. Root runs them as one query of several statements, any
// number of times. They hold the hash of the password, which keeps the password out of the
// server's log.
func AdministratorSQL(name, password, database, prefix string) string {
	// The client mariadb splits at semicolons, the server does not.
	text := strings.NewReplacer("DELIMITER $$\n", "", "DELIMITER ;\n", "", "END$$", "END;").Replace(administratorSQL)
	return "CREATE DATABASE IF NOT EXISTS " + ident(database) + "; USE " + ident(database) + "; SET @administrator = " + literal(name) +
		", @password = " + literal(hash(password)) + ", @prefix = " + literal(prefix) + ";\n" + text
}

// hash is what the server stores for a password, as PASSWORD() makes it:
// SHA-1 twice (MariaDB documentation, "Authentication Plugin - mysql_native_password").
// Every client supports it. It suffices for passwords of a seed, which nobody guesses.
func hash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // the protocol's
	twice := sha1.Sum(once[:])         //nolint:gosec // the protocol's
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}
