package smb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
)

// folder holds the shares' folders: limited subvolumes on btrfs, else plain directories.
type folder struct {
	dir   string
	trash string // the name of the directory in dir where deleted folders go
	// prefix is that of the broker's snapshots.
	prefix string
}

func newFolder(dir, prefix string) folder {
	return folder{dir: dir, trash: ".deleted-" + prefix, prefix: prefix}
}

// volumes makes subvolumes; none unless the directory is on btrfs. It checks that each time,
// because the file system may be mounted after the broker started.
func (f folder) volumes() btrfs.Folder {
	if volumes := btrfs.Folder(f.dir); volumes.Holds() {
		return volumes
	}
	return ""
}

// snapshots are those of the shares.
func (f folder) snapshots() btrfs.Snapshots { return btrfs.NewSnapshots(f.volumes(), f.prefix, 0o700) }

// path is where the folder of a share is.
func (f folder) path(share string) string { return filepath.Join(f.dir, share) }

// ready says what is wrong with the directory.
func (f folder) ready() error {
	info, err := os.Stat(f.dir)
	if err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || stat.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("folder: %s must be a directory that root owns and nobody else may write to", f.dir)
	}
	return f.volumes().Ready()
}

// make makes a share's folder for its instance alone. An existing one stays.
func (f folder) make(share string, a account, limit services.Size) error {
	var err error
	volumes := f.volumes()
	if volumes == "" {
		err = os.Mkdir(f.path(share), 0o700)
	} else {
		err = volumes.Make(share)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the share's folder: %w", err)
	}
	made, err := os.OpenFile(f.path(share), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return fmt.Errorf("make the share's folder: %w", err)
	}
	defer made.Close()
	if err := isFree(made, a); err != nil {
		return err
	}
	if err := made.Chown(int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("give the share's folder to its instance (it takes the capability CAP_CHOWN, and first_id and last_id that the machine knows): %w", err)
	}
	// What is made in it belongs to the same group.
	if err := made.Chmod(0o770 | fs.ModeSetgid); err != nil {
		return fmt.Errorf("close the share's folder to others: %w", err)
	}
	return volumes.Limit(share, limit)
}

// isFree refuses a folder unless it is the instance's or was just made.
func isFree(dir *os.File, a account) error {
	info, err := dir.Stat()
	if err != nil {
		return fmt.Errorf("make the share's folder: %w", err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int64(stat.Uid) == a.uid {
		return nil
	} else if ok && stat.Uid == 0 {
		if _, err := dir.ReadDir(1); errors.Is(err, io.EOF) {
			return nil
		}
	}
	return fmt.Errorf("make the share's folder: %s exists and belongs to another account; move it away", dir.Name())
}

// closeEmpty replaces an empty folder by one to which nobody can write, because the server cannot
// end sessions on a share without a folder. It returns ENOTEMPTY if the folder is not empty.
func (f folder) closeEmpty(share string) error {
	err := syscall.Rmdir(f.path(share))
	if err != nil && !errors.Is(err, syscall.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: f.path(share), Err: err}
	}
	if err := os.Mkdir(f.path(share), 0o711); err != nil { //nolint:gosec // sessions pass it
		return fmt.Errorf("close the share's folder: %w", err)
	}
	return nil
}

// discard moves a share's folder with its contents away. An absent one is not an error.
func (f folder) discard(share string) error {
	if removed, err := f.volumes().Remove(share); removed || err != nil {
		return err
	}
	trash := filepath.Join(f.dir, f.trash, share)
	if _, err := os.Lstat(f.path(share)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := os.MkdirAll(trash, 0o700)
	if err == nil { // the time distinguishes it from remains of earlier deletions
		err = os.Rename(f.path(share), filepath.Join(trash, strconv.FormatInt(time.Now().UnixNano(), 10)))
	}
	if err != nil {
		return fmt.Errorf("delete the share's folder: %w", err)
	}
	return nil
}

// shares are the names of all directories, also of deleted ones that are not empty yet, and of
// shares that have snapshots.
func (f folder) shares() ([]string, error) {
	var names []string
	for _, dir := range []string{f.dir, filepath.Join(f.dir, f.trash)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list the shares' folders: %w", err)
		}
		for _, e := range entries {
			names = append(names, strings.TrimPrefix(e.Name(), snapshotPrefix))
		}
	}
	kept, err := f.snapshots().Subvolumes()
	return append(names, kept...), err
}

// empty deletes what discard moved away, or as much as there is time for.
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
