// Package btrfs makes subvolumes that the kernel holds to a limit, and keeps snapshots of them.
package btrfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/chandler-broker/chandler/services"
)

// Folder is a directory on btrfs that holds subvolumes. "" has none.
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

// change makes or removes a subvolume.
func (f Folder) change(call uintptr, name string) error {
	if name == "" || len(name) > 255 { // BTRFS_VOL_NAME_MAX
		return errors.New("a subvolume's name has 1 to 255 bytes")
	}
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	var args volumeArgs
	copy(args.name[:], name)
	return control(dir, call, &args)
}

// Make makes a subvolume, of mode 0700 and the folder's owner. What is there stays.
func (f Folder) Make(name string) error {
	if err := f.change(subvolumeCreate, name); err != nil && !errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("make a subvolume in %s: %w", f, err)
	}
	made, err := f.open(name)
	if err != nil {
		return err
	}
	defer made.Close()
	var owner syscall.Stat_t
	if err := syscall.Lstat(string(f), &owner); err != nil {
		return err
	}
	if err := made.Chown(int(owner.Uid), int(owner.Gid)); err != nil {
		return fmt.Errorf("give the subvolume to the folder's owner: %w", err)
	}
	return made.Chmod(0o700)
}

// Remove removes a subvolume at once; removed is false if there is none of that name.
func (f Folder) Remove(name string) (removed bool, err error) {
	made, _, err := f.subvolume(name)
	if err != nil || made == nil {
		return false, err
	}
	_ = made.Close()
	if err := f.change(subvolumeRemove, name); err != nil && !errors.Is(err, syscall.ENOENT) {
		return false, fmt.Errorf("remove subvolume %s of %s: %w", name, f, err)
	}
	return true, nil
}

// Snapshot makes a subvolume that shows what another one holds now, and that cannot be changed.
func (f Folder) Snapshot(of, name string) error {
	if name == "" || len(name) > len(snapshotArgs{}.name)-1 {
		return errors.New("a snapshot's name has 1 to 4039 bytes")
	}
	source, _, err := f.subvolume(of)
	if err != nil {
		return err
	}
	if source == nil {
		return fmt.Errorf("make a snapshot of subvolume %s of %s: %w", of, f, os.ErrNotExist)
	}
	defer source.Close()
	return f.clone(source, name, readOnly)
}

// clone makes a subvolume in this folder that holds what another one, of the same file system,
// holds now.
func (f Folder) clone(source *os.File, name string, flags uint64) error {
	dir, err := f.open("")
	if err != nil {
		return err
	}
	defer dir.Close()
	args := snapshotArgs{source: int64(source.Fd()), flags: flags} //nolint:gosec // a descriptor
	copy(args.name[:], name)
	if err := control(dir, snapshotCreate, &args); err != nil {
		return fmt.Errorf("make a snapshot of subvolume %s: %w", source.Name(), err)
	}
	return nil
}

// discard removes a subvolume with its quota group. An absent one is not an error.
func (f Folder) discard(name string) error {
	group, err := f.Group(name)
	if err != nil || group == 0 {
		return err
	}
	if _, err := f.Remove(name); err != nil {
		return err
	}
	return f.RemoveGroup(group)
}

// Limit sets the limit of a subvolume, if there is one of that name; 0 is no limit.
func (f Folder) Limit(name string, size services.Size) error {
	made, id, err := f.subvolume(name)
	if err != nil || made == nil {
		return err
	}
	defer made.Close()
	args := limitArgs{id: id, flags: limitReferenced, referenced: int64(size)}
	if size == 0 {
		args.referenced = -1
	}
	if err := control(made, quotaLimit, &args); err != nil {
		return fmt.Errorf("set the limit of a quota group (it takes the capability CAP_SYS_ADMIN): %w", err)
	}
	return nil
}

// Used returns the bytes that a subvolume holds; hard is false if there is none of that name.
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

// RemoveGroup removes the quota group of a removed subvolume, which older kernels leave; 0: none.
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
	// EBUSY: the kernel still cleans up, and removes the group, too. ENOTCONN: quotas are off.
	if err == nil || errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTCONN) {
		return nil
	}
	return fmt.Errorf("remove a quota group: %w", err)
}

// subvolume opens a subvolume and returns its number; nil if there is none of that name.
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

// The kernel's calls for btrfs (include/uapi/linux/btrfs.h).
const (
	subvolumeCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	subvolumeRemove = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	inodeLookup     = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	systemInfo      = 0x8400941f // BTRFS_IOC_FS_INFO
	quotaCreate     = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	quotaLimit      = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT
	snapshotCreate  = 0x50009417 // BTRFS_IOC_SNAP_CREATE_V2

	limitReferenced = 1          // BTRFS_QGROUP_LIMIT_MAX_RFER
	readOnly        = 2          // BTRFS_SUBVOL_RDONLY
	subvolumeInode  = 256        // BTRFS_FIRST_FREE_OBJECTID
	btrfsMagic      = 0x9123683e // BTRFS_SUPER_MAGIC
)

type volumeArgs struct {
	_    int64
	name [4088]byte
}

type snapshotArgs struct {
	source int64
	_      uint64
	flags  uint64
	_      [4]uint64
	name   [4040]byte
}

type lookupArgs struct {
	tree, object uint64
	_            [4080]byte
}

type infoArgs struct {
	_  [16]byte
	id [16]byte
	_  [992]byte
}

type groupArgs struct {
	_  uint64 // 0: remove the group
	id uint64
}

type limitArgs struct {
	id, flags  uint64
	referenced int64
	_          [3]uint64
}

// control makes one of these calls; args is its structure.
func control[T any](f *os.File, call uintptr, args *T) error {
	//nolint:gosec // there is no other way to these calls
	if _, _, code := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), call, uintptr(unsafe.Pointer(args))); code != 0 {
		return code
	}
	return nil
}

func isBtrfs(f *os.File) bool {
	var s syscall.Statfs_t
	return syscall.Fstatfs(int(f.Fd()), &s) == nil && s.Type == btrfsMagic
}
