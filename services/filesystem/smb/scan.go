package smb

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/usage"
)

// note tells the user of a locked share why it is locked.
func note(used usage.Amount, p Plan) string {
	var parts []string
	if !usage.MayResume(used.Bytes, p.Storage) {
		parts = append(parts, fmt.Sprintf("storage: %s of %s used", used.Bytes, p.Storage))
	}
	if !usage.MayResume(used.Items, p.Files) {
		parts = append(parts, fmt.Sprintf("files: %d of %d", used.Items, p.Files))
	}
	if parts == nil { // another process counted, and this one's count has not ended
		parts = []string{"the share's contents are being counted again"}
	}
	return strings.Join(parts, ", ") + "; the share is read-only: choose a larger plan, then delete files"
}

// counter counts what one share holds on the disk.
type counter struct {
	dir  string
	disk filesystem.Count
}

// Advance implements usage.Counter.
func (c *counter) Advance(_ context.Context, end time.Time) (done bool, err error) {
	return c.disk.Advance(c.dir, end)
}

// Amount implements usage.Counter.
func (c *counter) Amount() usage.Amount {
	return usage.Amount{Bytes: c.disk.Bytes, Items: c.disk.Files}
}
