package sandbox

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Mount is a folder of this machine that a call sees.
type Mount struct {
	// Path is where the code sees the folder, absolute, "/" excluded.
	Path string `json:"path"`
	// Folder is where it is on this machine, absolute.
	Folder   string `json:"folder"`
	ReadOnly bool   `json:"read_only,omitempty"`
	// Identity is that of the folder when it was mounted. A call fails with InternalError
	// if another folder, perhaps another tenant's, has taken its place.
	Identity Identity `json:"identity"`
}

// Identity distinguishes a folder from one that is created later under the same name. The
// zero Identity is no folder's.
type Identity struct {
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Born is when the folder was created, in nanoseconds since 1970; 0 where the file
	// system does not record that.
	Born int64 `json:"born"`
}

// same says whether both are one folder's. Device numbers change when a machine is
// restarted, so they count only if the time of creation is unknown.
func (i Identity) same(other Identity) bool {
	return i.Inode == other.Inode && i.Born == other.Born && (i.Born != 0 || i.Device == other.Device)
}

// IdentityOf returns what folder is now.
func IdentityOf(folder string) (Identity, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Identity{}, fmt.Errorf("open the folder: %w", err)
	}
	defer root.Close() //nolint:errcheck // nothing was written
	identity, _, err := inspect(root)
	if err != nil {
		err = fmt.Errorf("inspect the folder: %w", err)
	}
	return identity, err
}

// inspect returns the identity and the owner of root.
func inspect(root *os.Root) (Identity, owner, error) {
	self, err := root.Open(".")
	if err != nil {
		return Identity{}, owner{}, err
	}
	defer self.Close()
	var about unix.Statx_t
	const want = unix.STATX_BASIC_STATS | unix.STATX_BTIME
	if err := unix.Statx(int(self.Fd()), "", unix.AT_EMPTY_PATH, want, &about); err != nil {
		return Identity{}, owner{}, err
	}
	identity := Identity{Device: unix.Mkdev(about.Dev_major, about.Dev_minor), Inode: about.Ino}
	if about.Mask&unix.STATX_BTIME != 0 {
		identity.Born = about.Btime.Sec*1e9 + int64(about.Btime.Nsec)
	}
	return identity, owner{user: int(about.Uid), group: int(about.Gid), mode: os.FileMode(about.Mode).Perm()}, nil
}

// errOtherFolder does not name the folder, which users must not learn.
var errOtherFolder = errors.New("another folder has taken the place of the one that was mounted; repeat the mount")

// mounted are the file systems of one call, by the guest's path.
type mounted map[string]*folderFS

// mount opens the folders of one call, with one counter of open files for all.
func mount(mounts []Mount, files int) (mounted, error) {
	open := mounted{}
	counter := &openFiles{left: files}
	for _, m := range mounts {
		system, err := openFolder(m, counter)
		if err != nil {
			open.close()
			return nil, fmt.Errorf("mount %s: %w", m.Path, err)
		}
		open[m.Path] = system
	}
	return open, nil
}

func (m mounted) close() {
	for _, system := range m {
		_ = system.root.Close()
	}
}

func openFolder(m Mount, files *openFiles) (*folderFS, error) {
	root, err := os.OpenRoot(m.Folder)
	if err != nil {
		return nil, withoutPath(err)
	}
	identity, whose, err := inspect(root)
	if err == nil && !identity.same(m.Identity) {
		err = errOtherFolder
	}
	if err != nil {
		_ = root.Close()
		return nil, withoutPath(err)
	}
	return &folderFS{root: root, readOnly: m.ReadOnly, owner: whose, files: files}, nil
}

// withoutPath removes the name of a folder of this machine from an error.
func withoutPath(err error) error {
	if path, ok := errors.AsType[*os.PathError](err); ok {
		return path.Err
	}
	return err
}
