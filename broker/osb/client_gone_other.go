//go:build !linux

package osb

// isEstablished reports that a connection is open where the state of a connection is unknown.
func isEstablished(int) bool { return true }
