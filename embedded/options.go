// Package embedded runs real servers for `chandler dev` and the tests: PostgreSQL, MariaDB, RabbitMQ,
// PowerDNS, Samba, an S3 gateway, Vault and the function runtime as child processes, and NATS in this
// process. They listen only on loopback, have all files in a folder, and end when this process ends, in
// whatever way. If this process is root's, the children run as an unprivileged user.
package embedded

// Options are those of every server.
type Options struct {
	// Dir is the server's folder, for the server alone; it is created if it does not
	// exist. Later starts on it continue with its data and ports, also after kill -9
	// of the process that used it before.
	Dir string
	// NoSync makes tests faster: a power failure may destroy the data, kill -9 does not.
	NoSync bool
}

// TLS is a server's identity, in PEM. The certificate must be valid for 127.0.0.1.
type TLS struct {
	// Certificate is the server's, with its chain, and Key its private key.
	Certificate, Key []byte
	// CA is the authority that clients have to trust; only Vault needs it.
	CA []byte
}
