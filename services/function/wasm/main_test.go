package wasm

import (
	"log/slog"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/function/wasm/sandbox/sandboxtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m, sandboxtest.Remove) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
