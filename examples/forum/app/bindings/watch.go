package bindings

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"time"
)

// Watch reads the source at every interval, and at once when it receives from look. It calls changed
// with each Set that differs from the previous one, which is first at the beginning. It logs a
// source that it cannot read, and retries. It returns when the context ends.
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
