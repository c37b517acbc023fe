package main

import (
	"io"
	"log/slog"

	"code.cloudfoundry.org/lager/v3"
)

// newLogger makes the one logger of the process. lager is Cloud Foundry's own
// format, which its log tools read.
func newLogger(format string, out io.Writer) (*slog.Logger, error) {
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(out, nil)), nil
	case "text":
		return slog.New(slog.NewTextHandler(out, nil)), nil
	case "lager":
		l := lager.NewLogger("chandler")
		l.RegisterSink(lager.NewPrettySink(out, lager.INFO))
		return slog.New(lager.NewHandler(l)), nil
	}
	return nil, usagef("log format %q: must be json, text or lager", format)
}
