package nats

import (
	"testing"

	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// The same on three servers: an application may be connected to any of them.
func TestSuiteOnCluster(t *testing.T) {
	server := newServer(t, embedded.NATSOptions{Nodes: 3})
	servicetest.Run(t, suite(t, server))
}
