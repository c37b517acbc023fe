// Package mysql makes a MySQL database per instance and an account per binding
// on a MariaDB server, of version 10.6 or newer, that it administers without
// being root. README.md in this folder is the operator's page.
package mysql

import (
	"crypto/sha1" //nolint:gosec // the protocol's, see hash
	"embed"
	"encoding/hex"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/database/mysqldb"
)

//go:embed schemas
var schemas embed.FS

//go:embed catalog.yml
var catalogYAML []byte

// Definition describes the backend "database/mysql".
func Definition() services.Definition {
	return services.Define("database/mysql",
		services.ReadSchemas(schemas),
		services.Client{
			Catalog: catalogYAML, CredentialType: mysqldb.CredentialType, Dial: mysqldb.Dial,
			AdministratorSQL: func(name, password string) string { return AdministratorSQL(name, password, name, "c") },
		},
		open)
}

//go:embed administrator.sql
var administratorSQL string

// administratorVersion is administrator.sql's; raise both when it has to be run again.
const administratorVersion = 2

// AdministratorSQL returns the statements of administrator.sql for a backend of that prefix, in
// the database of Config.URL. Root runs them as one query, any number of times. They hold the
// hash of the password, which may appear in the server's log.
func AdministratorSQL(name, password, database, prefix string) string {
	// The client mariadb splits at semicolons, the server does not.
	text := strings.NewReplacer("DELIMITER $$\n", "", "DELIMITER ;\n", "", "END$$", "END;").Replace(administratorSQL)
	return "CREATE DATABASE IF NOT EXISTS " + ident(database) + "; USE " + ident(database) + "; SET @administrator = " + literal(name) +
		", @password = " + literal(hash(password)) + ", @prefix = " + literal(prefix) + ";\n" + text
}

// hash is what the server stores for a password (MariaDB documentation, "Authentication Plugin -
// mysql_native_password"). It suffices for passwords of a seed, which nobody guesses.
func hash(password string) string {
	once := sha1.Sum([]byte(password)) //nolint:gosec // the protocol's
	twice := sha1.Sum(once[:])         //nolint:gosec // the protocol's
	return "*" + strings.ToUpper(hex.EncodeToString(twice[:]))
}
