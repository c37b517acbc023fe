package server

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A collector that does not answer costs one line a minute.
func TestSpansThatCannotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		failed := spanErrors(slog.New(slog.NewTextHandler(&log, nil)))
		for range 3 {
			failed(io.ErrUnexpectedEOF)
		}
		if n := strings.Count(log.String(), "spans could not be sent"); n != 1 {
			t.Errorf("%d lines: %s", n, log.String())
		}
		time.Sleep(2 * time.Minute)
		if failed(io.EOF); strings.Count(log.String(), "\n") != 2 {
			t.Errorf("after two minutes: %s", log.String())
		}
	})
}
