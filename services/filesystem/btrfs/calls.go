package btrfs

import (
	"os"
	"syscall"
	"unsafe"
)

// The kernel's calls for btrfs (include/uapi/linux/btrfs.h).
const (
	subvolumeCreate = 0x5000940e // BTRFS_IOC_SUBVOL_CREATE
	subvolumeRemove = 0x5000940f // BTRFS_IOC_SNAP_DESTROY
	inodeLookup     = 0xd0009412 // BTRFS_IOC_INO_LOOKUP
	systemInfo      = 0x8400941f // BTRFS_IOC_FS_INFO
	quotaCreate     = 0x4010942a // BTRFS_IOC_QGROUP_CREATE
	quotaLimit      = 0x8030942b // BTRFS_IOC_QGROUP_LIMIT

	limitReferenced = 1          // BTRFS_QGROUP_LIMIT_MAX_RFER
	subvolumeInode  = 256        // BTRFS_FIRST_FREE_OBJECTID
	btrfsMagic      = 0x9123683e // BTRFS_SUPER_MAGIC
)

type volumeArgs struct {
	_    int64
	name [4088]byte
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
