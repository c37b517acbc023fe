// Package embedded runs real servers, PostgreSQL and Vault, as children of this
// process: for `chandler dev` and for the tests. They listen on loopback only,
// keep everything in a folder of their own, run as an unprivileged user when
// this process is root's, and end when this process ends, in whatever way.
package embedded
