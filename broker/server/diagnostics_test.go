package server

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// A collector that is away costs nothing but one line a minute.
func TestSpansThatCannotBeSent(t *testing.T) {
	var log bytes.Buffer
	faults := &spanFaults{log: slog.New(slog.NewTextHandler(&log, nil))}
	for range 3 {
		faults.Handle(io.ErrUnexpectedEOF)
	}
	if n := strings.Count(log.String(), "spans could not be sent"); n != 1 {
		t.Errorf("%d lines: %s", n, log.String())
	}
	faults.last = time.Now().Add(-2 * time.Minute)
	if faults.Handle(io.EOF); strings.Count(log.String(), "\n") != 2 {
		t.Errorf("later: %s", log.String())
	}
}
