package smb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
)

// folder is the directory that holds the shares' folders: on btrfs as subvolumes
// with a limit each, elsewhere as plain directories.
type folder struct {
	dir   string
	trash string // the name of the directory in dir where deleted folders go
}

func newFolder(dir, prefix string) folder { return folder{dir: dir, trash: ".deleted-" + prefix} }

// volumes makes subvolumes in the directory; none where that is not on btrfs. It
// is looked at each time: the file system may be mounted after the broker began.
func (f folder) volumes() btrfs.Folder {
	if volumes := btrfs.Folder(f.dir); volumes.Holds() {
		return volumes
	}
	return ""
}

// path is where the folder of a share is.
func (f folder) path(share string) string { return filepath.Join(f.dir, share) }

// ready says what the directory lacks.
func (f folder) ready() error {
	info, err := os.Stat(f.dir)
	if err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || !ok || stat.Uid != 0 || info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("folder: %s must be a directory that belongs to root and nobody else may write to", f.dir)
	}
	return f.volumes().Ready()
}

// make makes a share's folder, its instance's and nobody else's. What is there
// stays.
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
	_, err = volumes.Limit(share, limit)
	return err
}

// isFree says whether a folder is the instance's, or one that was just made.
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
	return fmt.Errorf("make the share's folder: %s is there already and somebody else's; move it away", dir.Name())
}

// closeEmpty puts a folder that nobody can write to into the place of one that
// holds nothing: syscall.ENOTEMPTY where it does. Without any folder the server
// could not end the sessions on it.
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

// discard takes a share's folder out of its place, at once, with whatever is
// in it. What is absent is no error.
func (f folder) discard(share string) error {
	if removed, err := f.volumes().Remove(share); removed || err != nil {
		return err
	}
	trash := filepath.Join(f.dir, f.trash, share)
	if _, err := os.Lstat(f.path(share)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(trash, 0o700); err != nil {
		return fmt.Errorf("delete the share's folder: %w", err)
	}
	// The time tells it from what an earlier deletion left.
	if err := os.Rename(f.path(share), filepath.Join(trash, strconv.FormatInt(time.Now().UnixNano(), 10))); err != nil {
		return fmt.Errorf("delete the share's folder: %w", err)
	}
	return nil
}

// shares are the names of the directories in the folder, deleted ones that are
// not gone yet included.
func (f folder) shares() ([]string, error) {
	var names []string
	for _, dir := range []string{f.dir, filepath.Join(f.dir, f.trash)} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list the shares' folders: %w", err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
