package server

import (
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m, sandboxtest.Remove) }
