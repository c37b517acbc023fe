package smb

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/chandler-broker/chandler/services/filesystem"
)

// empty deletes what discard put away of a share, or as much as there is time
// for; done says that it was all.
func (f folder) empty(share string, end time.Time) (done bool, err error) {
	dir := filepath.Join(f.dir, f.trash, share)
	if done, err = filesystem.Empty(dir, end); err == nil && done {
		err = os.Remove(dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("delete a share's files: %w", err)
	}
	return done, nil
}
