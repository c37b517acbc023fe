// Package embedded runs real servers, PostgreSQL, MariaDB, RabbitMQ, PowerDNS, an
// S3 gateway and Vault as children of this process and NATS inside it: for
// `chandler dev` and for the tests. They listen on loopback only, keep everything
// in a folder of their own, and end when this process ends, in whatever way; the
// children run as an unprivileged user when this process is root's.
package embedded
