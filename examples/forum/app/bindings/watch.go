package bindings

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"
)

// Watch reads the source every interval, and at once when it is told to look, and
// hands each Set to changed that differs from the one before, beginning with
// first. It returns when the context ends. A source that cannot be read is logged
// and tried again; what was read before goes on to hold.
func Watch(ctx context.Context, source Source, first Set, interval time.Duration, look <-chan os.Signal,
	log *slog.Logger, changed func(Set),
) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	known := first
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-look:
		case <-ticker.C:
		}
		set, err := source.Read()
		if err != nil {
			if !failing {
				log.Warn("bindings cannot be read", "error", err)
			}
			failing = true
			continue
		}
		failing = false
		if !slices.EqualFunc(known, set, Binding.Equal) {
			known = set
			changed(set)
		}
	}
}
