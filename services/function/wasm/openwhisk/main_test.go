package openwhisk_test

import (
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/function/wasm/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m, sandboxtest.Remove) }
