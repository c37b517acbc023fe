package wasm

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/function/wasm/state"
)

// Mounts implements services.Mounter: the instances whose folders the parameters
// ask for.
func (b *backend) Mounts(params InstanceParams) []string {
	ids := make([]string, len(params.Mounts))
	for i, m := range params.Mounts {
		ids[i] = m.Instance
	}
	return ids
}

// mounts are the parameters' mounts with the folders that the engine found for
// them, each as it is at this moment.
func mounts(inst instance) ([]state.Mount, error) {
	all := []state.Mount{}
	for i, m := range inst.Params.Mounts {
		folder, ok := inst.Folders[m.Instance]
		if !ok {
			return nil, services.Rejected("mounts[%d].instance: there is no file system of this identifier that can be mounted here", i)
		}
		mount, err := identify(folder)
		if err != nil {
			return nil, fmt.Errorf("mounts[%d]: %w", i, err)
		}
		mount.Instance, mount.Path, mount.ReadOnly = m.Instance, m.Path, m.ReadOnly
		all = append(all, mount)
	}
	return all, nil
}

// identify tells what distinguishes a folder from another one that is made under
// its name later.
func identify(folder string) (state.Mount, error) {
	var st unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_STATX_SYNC_AS_STAT
	if err := unix.Statx(unix.AT_FDCWD, folder, flags, unix.STATX_INO|unix.STATX_TYPE|unix.STATX_BTIME, &st); err != nil {
		return state.Mount{}, fmt.Errorf("look at the folder: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return state.Mount{}, fmt.Errorf("look at the folder: it is none")
	}
	m := state.Mount{Folder: folder, Device: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		m.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return m, nil
}
