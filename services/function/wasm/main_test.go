package wasm

import (
	"log/slog"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
)

func TestMain(m *testing.M) { embeddedtest.Main(m) }

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
