// Package btrfs makes subvolumes with quota groups, which the kernel holds to
// their limits: for backends whose instances are directories on this machine.
package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/chandler-broker/chandler/services"
)

// Folder is a directory on btrfs whose subvolumes are made here. "" is none:
// then Limit, Used and Group find nothing.
type Folder string

// Holds says whether the folder is there and on btrfs.
func (f Folder) Holds() bool {
	dir, err := f.open("")
	if err != nil {
		return false
	}
	defer dir.Close()
	return isBtrfs(dir)
}

// Ready says what the folder lacks.
func (f Folder) Ready() error {
	if f == "" {
		return nil
	}
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	if !isBtrfs(dir) {
		return fmt.Errorf("folder: %s is not on btrfs; leave the key out of the backend's configuration, and limits are measured", f)
	}
	if _, err := os.Stat(f.quotas(dir)); err != nil {
		return fmt.Errorf("folder: %s has no quota groups; switch them on: btrfs quota enable %s", f, f)
	}
	return nil
}

// open opens the folder or a directory in it. What is opened is no link to one.
func (f Folder) open(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(string(f), name), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
}

// Make makes a subvolume, of mode 0700 and the folder's owner. What is there
// stays.
func (f Folder) Make(name string) error {
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	args, err := volume(name)
	if err != nil {
		return err
	}
	if err := control(dir, subvolumeCreate, &args); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("make a subvolume in %s: %w", f, err)
	}
	made, err := f.open(name)
	if err != nil {
		return err
	}
	defer made.Close()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the folder's owner is not known")
	}
	if err := made.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give the subvolume to the folder's owner: %w", err)
	}
	return made.Chmod(0o700)
}

// Remove removes a subvolume with all that is in it, at once. removed is false
// where there is no subvolume of that name; a directory stays.
func (f Folder) Remove(name string) (removed bool, err error) {
	made, _, err := f.subvolume(name)
	if err != nil || made == nil {
		return false, err
	}
	_ = made.Close()
	dir, err := f.open("")
	if err != nil {
		return false, err
	}
	defer dir.Close()
	args, err := volume(name)
	if err != nil {
		return false, err
	}
	if err := control(dir, subvolumeRemove, &args); err != nil && !errors.Is(err, syscall.ENOENT) {
		return false, fmt.Errorf("remove subvolume %s of %s: %w", name, f, err)
	}
	return true, nil
}

// Limit sets the limit of a subvolume's quota group; 0 is none. hard is false
// where there is no subvolume of that name.
func (f Folder) Limit(name string, size services.Size) (hard bool, err error) {
	made, id, err := f.subvolume(name)
	if err != nil || made == nil {
		return false, err
	}
	defer made.Close()
	args := limitArgs{id: id, flags: limitReferenced, referenced: int64(size)}
	if size == 0 {
		args.referenced = -1 // none
	}
	if err := control(made, quotaLimit, &args); err != nil {
		return false, fmt.Errorf("set the limit of a quota group (it takes the capability CAP_SYS_ADMIN): %w", err)
	}
	return true, nil
}

// Used returns the bytes that a subvolume's quota group counts.
func (f Folder) Used(name string) (used services.Size, hard bool, err error) {
	made, id, err := f.subvolume(name)
	if err != nil || made == nil {
		return 0, false, err
	}
	defer made.Close()
	text, err := os.ReadFile(filepath.Join(f.quotas(made), fmt.Sprintf("0_%d", id), "referenced"))
	if err != nil {
		return 0, false, fmt.Errorf("read a quota group: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return services.Size(n), true, err
}

// Group is the number of a subvolume's quota group, 0 where it has none.
func (f Folder) Group(name string) (uint64, error) {
	made, id, err := f.subvolume(name)
	if err != nil || made == nil {
		return 0, err
	}
	return id, made.Close()
}

// RemoveGroup removes the quota group of a subvolume that is gone, which older
// kernels leave to whoever made it. 0 is none.
func (f Folder) RemoveGroup(id uint64) error {
	if id == 0 {
		return nil
	}
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	args := groupArgs{id: id}
	err = control(dir, quotaCreate, &args)
	// Busy is one whose subvolume the kernel still cleans up: it goes with it.
	// Not connected is a file system whose quotas are switched off: it has none.
	if err == nil || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return fmt.Errorf("remove a quota group: %w", err)
}

// subvolume opens a subvolume and returns its number; nil where there is none
// of that name.
func (f Folder) subvolume(name string) (*os.File, uint64, error) {
	if f == "" {
		return nil, 0, nil
	}
	made, err := f.open(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	info, err := made.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, made.Close())
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Ino != subvolumeInode || !isBtrfs(made) {
		return nil, 0, made.Close()
	}
	args := lookupArgs{object: subvolumeInode}
	if err := control(made, inodeLookup, &args); err != nil {
		return nil, 0, errors.Join(fmt.Errorf("find a quota group: %w", err), made.Close())
	}
	return made, args.tree, nil
}

// quotas is where the kernel shows the file system's quota groups.
func (f Folder) quotas(dir *os.File) string {
	var args infoArgs
	if err := control(dir, systemInfo, &args); err != nil {
		return ""
	}
	id := args.id
	return fmt.Sprintf("/sys/fs/btrfs/%x-%x-%x-%x-%x/qgroups", id[0:4], id[4:6], id[6:8], id[8:10], id[10:16])
}
