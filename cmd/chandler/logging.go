package main

import (
	"io"
	"log/slog"

	"code.cloudfoundry.org/lager/v3"
)

// newLogger makes the one logger of the process. lager is Cloud Foundry's own
// format, which its log tools read.
func newLogger(format string, level slog.Level, out io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: level}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(out, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(out, options)), nil
	case "lager":
		least := lager.INFO
		if level == slog.LevelDebug {
			least = lager.DEBUG
		}
		l := lager.NewLogger("chandler")
		l.RegisterSink(lager.NewPrettySink(out, least))
		return slog.New(lager.NewHandler(l)), nil
	}
	return nil, usagef("log format %q: must be json, text or lager", format)
}
