package openwhisk

import (
	"log/slog"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/functions/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m, sandboxtest.Remove) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
